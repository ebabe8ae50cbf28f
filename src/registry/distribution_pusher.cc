#include "registry/distribution_pusher.h"

#include <charconv>

#include "http/url.h"

namespace skiff::registry {

// An upload that the registry has opened (distribution specification, "Pushing blobs").
struct DistributionPusher::Upload {
  std::string location;  // where the next request goes; empty before it is open
  uint64_t stored = 0;   // bytes that the registry says it holds
  bool resuming = false;
};

namespace {

Result<std::string> location_of(const http::Response& response) {
  auto from = SKIFF_TRY(http::Url::parse(response.url));
  std::string_view location = response.headers.get("Location");
  if (location.empty()) return fail(Code::kUnavailable, "the registry's answer has no Location");
  return SKIFF_TRY_WRAP(from.resolve(location), "Location").str();
}

// "0-1233" (sometimes "bytes=0-1233") means 1234 bytes are there; "0-0" none or one, which is
// treated as none.
uint64_t stored_bytes(const http::Response& response) {
  std::string_view range = response.headers.get("Range");
  size_t dash = range.rfind('-');
  uint64_t last = 0;
  if (dash == range.npos) return 0;
  std::from_chars(range.data() + dash + 1, range.data() + range.size(), last);
  return last ? last + 1 : 0;
}

Status check_digest(const http::Response& response, const Digest& digest) {
  auto said = Digest::parse(response.headers.get("Docker-Content-Digest"));
  if (said && *said != digest)
    return fail(Code::kDataLoss, "the registry stored {} in place of {}", *said, digest);
  return ok();
}

http::Body body_from(const Pusher::OpenAt& open, uint64_t offset, uint64_t size) {
  return {[&open, offset] { return open(offset); }, size - offset};
}

}  // namespace

Status DistributionPusher::over_host(const Context& context, const Session& session,
                                     const Session::Try& attempt, const std::string& what) {
  Session::HostList hosts = session.hosts_that(&Host::push);
  if (hosts.size() > 1) hosts.resize(1);
  auto status = session.over_hosts(context, hosts, attempt);
  if (status) return status;
  return std::unexpected(
      std::move(status).error().wrap(fmt::format("{} to {}", what, session.reference().name())));
}

Result<bool> DistributionPusher::has_blob(const Context& context, const Digest& digest) {
  bool there = false;
  SKIFF_TRY(over_host(
      context, session_,
      [&](const Host& host) {
        auto request =
            session_.request(host, "HEAD", session_.url(host, fmt::format("blobs/{}", digest)));
        auto response = session_.send(context, host, std::move(request));
        there = response && response->success();
        if (there || (response && response->status == 404)) return Attempt::done();
        return session_.judge(context, response);
      },
      fmt::format("look for {} before a push", digest)));
  return there;
}

Result<bool> DistributionPusher::mount_blob(const Context& context, const Digest& digest,
                                            const std::string& from_repository) {
  bool mounted = false;
  // A registry that checks access wants to see that the source may be read.
  Session session = session_.with_scopes(Scopes::pull(from_repository));
  SKIFF_TRY(over_host(
      context, session,
      [&](const Host& host) {
        std::string url = session.url(
            host, fmt::format("blobs/uploads/?mount={}&from={}", http::percent_encode(digest.str()),
                              http::percent_encode(from_repository)));
        auto request = session.request(host, "POST", std::move(url));
        request.body = http::Body::of("");
        auto response = session.send(context, host, std::move(request));
        if (!response || !response->success()) {
          // A refusal is about the mount, not about the push.
          bool refused = response ? response->status / 100 == 4 && response->status != 429
                                  : response.error().is(Code::kUnauthenticated);
          if (refused) return Attempt::done();
          return session.judge(context, response);
        }
        mounted = response->status == 201;
        if (!mounted)  // 202: it opened an upload instead
          if (auto location = location_of(*response)) cancel(context, session, host, *location);
        return Attempt::done();
      },
      fmt::format("mount {}", digest)));
  return mounted;
}

// An upload that nobody ends would stay until the registry purges it. Best effort.
void DistributionPusher::cancel(const Context& context, const Session& session, const Host& host,
                                const std::string& location) {
  (void)session.send(context, host, session.request(host, "DELETE", location));
}

Attempt DistributionPusher::start(const Context& context, const Host& host, Upload& upload) {
  auto request = session_.request(host, "POST", session_.url(host, "blobs/uploads/"));
  request.body = http::Body::of("");
  auto response = session_.send(context, host, std::move(request));
  if (!response || response->status != 202) return session_.judge(context, response);
  auto location = location_of(*response);
  if (!location) return Attempt::next_host(std::move(location).error());
  upload = {*std::move(location), 0, false};
  return Attempt::done();
}

Attempt DistributionPusher::send_whole(const Context& context, const Host& host,
                                       const oci::Descriptor& descriptor, const OpenAt& open,
                                       Upload& upload) {
  auto url = http::Url::parse(upload.location);
  if (!url) return Attempt::next_host(std::move(url).error());
  auto request =
      session_.request(host, "PUT", url->with_query("digest", descriptor.digest.str()).str());
  request.http11_only = true;
  request.timeouts.response = session_.options().commit_timeout;
  request.headers.set({"Content-Type", "application/octet-stream"});
  bool rest_is_there = upload.stored == descriptor.size;
  request.body = rest_is_there ? http::Body::of("") : body_from(open, 0, descriptor.size);
  auto response = session_.send(context, host, std::move(request));
  if (!response || !response->success()) return session_.judge(context, response);
  if (auto good = check_digest(*response, descriptor.digest); !good)
    return Attempt::give_up(std::move(good).error());
  return Attempt::done();
}

// After a broken transfer: asks how far it came and sends what is missing.
Attempt DistributionPusher::send_rest(const Context& context, const Host& host,
                                      const oci::Descriptor& descriptor, const OpenAt& open,
                                      Upload& upload) {
  auto asked = session_.send(context, host, session_.request(host, "GET", upload.location));
  if (!asked || !asked->success()) {
    if (asked && asked->status == 404) upload = {};  // gone: from the start
    return asked && asked->status == 404 ? Attempt::try_later(status_error(*asked))
                                         : session_.judge(context, asked);
  }
  uint64_t stored = stored_bytes(*asked);
  if (stored > descriptor.size)
    return Attempt::next_host(Error(Code::kDataLoss, "the registry holds more than was sent"));
  bool progress = stored > upload.stored;
  upload.stored = stored;
  if (auto location = location_of(*asked)) upload.location = *std::move(location);
  if (stored < descriptor.size) {
    auto request = session_.request(host, "PATCH", upload.location);
    request.http11_only = true;
    request.headers.set({"Content-Type", "application/octet-stream"});
    request.headers.set({"Content-Range", fmt::format("{}-{}", stored, descriptor.size - 1)});
    request.body = body_from(open, stored, descriptor.size);
    auto response = session_.send(context, host, std::move(request));
    if (!response || !response->success()) {
      Attempt attempt = session_.judge(context, response);
      attempt.progress = progress;
      return attempt;
    }
    if (auto location = location_of(*response)) upload.location = *std::move(location);
    upload.stored = descriptor.size;
  }
  return send_whole(context, host, descriptor, open, upload);
}

Status DistributionPusher::put_blob(const Context& context, const oci::Descriptor& descriptor,
                                    const OpenAt& open) {
  Upload upload;
  return over_host(
      context, session_,
      [&](const Host& host) {
        if (upload.resuming) return send_rest(context, host, descriptor, open, upload);
        if (Attempt started = start(context, host, upload); !started.status) return started;
        Attempt sent = send_whole(context, host, descriptor, open, upload);
        upload.resuming = !sent.status.has_value();
        return sent;
      },
      fmt::format("push {}", descriptor.digest));
}

Status DistributionPusher::put_manifest(const Context& context, const std::string& object,
                                        const oci::Descriptor& descriptor, std::string_view body) {
  return over_host(
      context, session_,
      [&](const Host& host) {
        auto request =
            session_.request(host, "PUT", session_.url(host, fmt::format("manifests/{}", object)));
        request.timeouts.response = session_.options().commit_timeout;
        request.headers.set({"Content-Type", descriptor.media_type});
        request.body = http::Body::of(std::string(body));
        auto response = session_.send(context, host, std::move(request));
        if (!response || !response->success()) return session_.judge(context, response);
        if (auto good = check_digest(*response, descriptor.digest); !good)
          return Attempt::give_up(std::move(good).error());
        return Attempt::done();
      },
      fmt::format("push manifest {}", object));
}

}  // namespace skiff::registry
