// Counters, gauges and histograms of the daemon, in Prometheus's text format. Metrics live as long
// as the process; a handle is looked up once (the lookup takes a lock) and is then lock-free.
//   static metrics::Counter& pulls = metrics::counter("skiff_image_pulls_total", "Image pulls",
//   {{"result", "ok"}}); pulls.increment();
// Names: skiff_<folder>_<what>_<unit>; seconds and bytes, never multiples.
#pragma once

#include <map>
#include <string>

namespace skiff::metrics {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void increment(double by = 1) = 0;
  virtual double value() const = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) = 0;
  virtual void add(double by) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;
};

// The same name and labels give the same metric. `help` counts at the first call only.
Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
// Buckets for durations from 100 us to 100 s.
Histogram& duration_histogram(const std::string& name, const std::string& help,
                              const Labels& labels = {});

// Everything in Prometheus's text exposition format 0.0.4.
std::string serialize();

}  // namespace skiff::metrics
