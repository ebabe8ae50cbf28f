#include "base/metrics/metrics.h"

#include <memory>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/guarded.h"

namespace skiff::metrics {
namespace {

class PrometheusCounter : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void increment(double by) override { counter_.Increment(by); }
  double value() const override { return counter_.Value(); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void set(double value) override { gauge_.Set(value); }
  void add(double by) override { gauge_.Increment(by); }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

using Key = std::pair<std::string, Labels>;

template <typename T>
using Handles = Guarded<std::map<Key, std::unique_ptr<T>>>;

// Leaked on purpose: threads may still count while the process exits.
prometheus::Registry& registry() {
  static auto* registry = new prometheus::Registry;
  return *registry;
}

template <typename T, typename Make>
T& find_or_make(Handles<T>& handles, const std::string& name, const Labels& labels, Make make) {
  auto map = handles.lock();
  auto& slot = (*map)[{name, labels}];
  if (!slot) slot = make();
  return *slot;
}

}  // namespace

Counter& counter(const std::string& name, const std::string& help, const Labels& labels) {
  static auto* handles = new Handles<Counter>;
  return find_or_make(*handles, name, labels, [&] {
    auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(registry());
    return std::make_unique<PrometheusCounter>(family.Add(labels));
  });
}

Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels) {
  static auto* handles = new Handles<Gauge>;
  return find_or_make(*handles, name, labels, [&] {
    auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(registry());
    return std::make_unique<PrometheusGauge>(family.Add(labels));
  });
}

Histogram& duration_histogram(const std::string& name, const std::string& help,
                              const Labels& labels) {
  static auto* handles = new Handles<Histogram>;
  return find_or_make(*handles, name, labels, [&] {
    auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(registry());
    return std::make_unique<PrometheusHistogram>(family.Add(
        labels, prometheus::Histogram::BucketBoundaries{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05,
                                                        0.1, 0.5, 1, 5, 10, 30, 100}));
  });
}

std::string serialize() { return prometheus::TextSerializer().Serialize(registry().Collect()); }

}  // namespace skiff::metrics
