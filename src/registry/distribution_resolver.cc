#include "codec/hash.h"
#include "codec/json/json.h"
#include "registry/distribution.h"
#include "registry/distribution_fetcher.h"
#include "registry/distribution_pusher.h"
#include "registry/session.h"

namespace skiff::registry {
namespace {

std::string accepted_types() {
  using namespace oci::media_type;
  return fmt::format("{}, {}, {}, {}", kOciIndex, kOciManifest, kDockerList, kDockerManifest);
}

// Types that say no more than "a document"; what it is stands inside.
bool is_vague(std::string_view media_type) {
  return media_type.empty() || media_type == "application/json" ||
         media_type == "application/octet-stream";
}

// A Content-Type without its parameters.
std::string media_type_of(const http::Response& response) {
  std::string_view text = response.headers.get("Content-Type");
  text = text.substr(0, text.find(';'));
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

Status check_media_type(const std::string& media_type) {
  if (oci::is_index(media_type) || oci::is_manifest(media_type)) return ok();
  if (media_type.find("distribution.manifest.v1") != media_type.npos)
    return fail(Code::kUnimplemented, "the image is in Docker's schema 1, which is long obsolete");
  return fail(Code::kDataLoss, "media type \"{}\" in place of a manifest's", media_type);
}

// What one host said about one reference.
struct Answer {
  oci::Descriptor descriptor;
  std::string body;
};

// HEAD: a descriptor when the host says all that one needs, nothing when GET has to tell.
Result<std::optional<Answer>> from_head(const http::Response& head,
                                        const std::optional<Digest>& wanted) {
  std::string type = media_type_of(head);
  auto size = head.headers.number("Content-Length");
  auto digest = Digest::parse(head.headers.get("Docker-Content-Digest"));
  if (!digest || !size || *size == 0 || is_vague(type)) return std::nullopt;
  SKIFF_TRY(check_media_type(type));
  if (wanted && *digest != *wanted)
    return fail(Code::kDataLoss, "digest {} in place of {}", *digest, *wanted);
  if (*size > oci::kMaxManifestBytes)
    return fail(Code::kResourceExhausted, "a manifest of {} bytes: more than {} are refused", *size,
                oci::kMaxManifestBytes);
  Answer answer;
  answer.descriptor.media_type = std::move(type);
  answer.descriptor.digest = *digest;
  answer.descriptor.size = *size;
  return answer;
}

Result<Answer> from_get(http::Response response, const std::optional<Digest>& wanted) {
  Answer answer;
  answer.body = std::move(response.body);
  std::string& type = answer.descriptor.media_type;
  type = media_type_of(response);
  if (is_vague(type)) {
    auto document = json::parse(answer.body);
    if (!document) return fail(Code::kDataLoss, "the manifest is no JSON");
    type = document->get_string("mediaType", "").value_or("");
  }
  SKIFF_TRY(check_media_type(type));
  auto said = Digest::parse(response.headers.get("Docker-Content-Digest"));
  Digest expected = wanted ? *wanted : said ? *said : Digest();
  auto algorithm = expected.empty() ? DigestAlgorithm::kSha256 : expected.algorithm();
  answer.descriptor.digest = codec::digest_of(as_bytes(answer.body), algorithm);
  answer.descriptor.size = answer.body.size();
  if (!expected.empty() && answer.descriptor.digest != expected)
    return fail(Code::kDataLoss, "the manifest's digest is {} in place of {}",
                answer.descriptor.digest, expected);
  return answer;
}

class DistributionResolver : public Resolver {
 public:
  DistributionResolver(http::Client& client, DistributionOptions options)
      : shared_(std::make_shared<Shared>(client, std::move(options))) {}

  Result<Resolved> resolve(const Context& context, const oci::Reference& reference,
                           const Access& access) override;
  Result<FetcherPtr> fetcher(const Context&, const oci::Reference& reference,
                             const Access& access) override {
    return std::make_shared<DistributionFetcher>(
        SKIFF_TRY(session(reference, access, Scopes::pull(reference.repository()))));
  }
  Result<std::unique_ptr<Pusher>> pusher(const Context&, const oci::Reference& reference,
                                         const Access& access) override {
    return std::make_unique<DistributionPusher>(
        SKIFF_TRY(session(reference, access, Scopes::push(reference.repository()))));
  }

 private:
  Result<Session> session(const oci::Reference& reference, const Access& access, Scopes scopes) {
    auto hosts =
        SKIFF_TRY(find_hosts(shared_->options.hosts_directories, reference.registry(), access));
    return Session(shared_, reference, access, std::move(hosts), std::move(scopes));
  }
  Attempt ask(const Context& context, const Session& session, const Host& host, Answer& answer);

  std::shared_ptr<Shared> shared_;
};

Attempt DistributionResolver::ask(const Context& context, const Session& session, const Host& host,
                                  Answer& answer) {
  const std::optional<Digest>& wanted = session.reference().digest();
  std::string url = session.url(host, fmt::format("manifests/{}", session.reference().object()));
  http::Request request = session.request(host, "HEAD", url);
  request.headers.set({"Accept", accepted_types()});
  auto head = session.send(context, host, request);
  if (!head) return session.judge(context, head);
  if (head->success()) {
    auto found = from_head(*head, wanted);
    if (!found) return Attempt::next_host(std::move(found).error());
    if (*found) {
      answer = **std::move(found);
      return Attempt::done();
    }
  } else if (head->status != 400 && head->status != 405) {
    // Error documents come with GET only, but one more request for a better text is not worth it.
    return session.judge(context, head);
  }
  request.method = "GET";
  request.max_body = oci::kMaxManifestBytes;
  auto got = session.send(context, host, request);
  if (!got || !got->success()) return session.judge(context, got);
  auto read = from_get(*std::move(got), wanted);
  if (!read) return Attempt::next_host(std::move(read).error());
  answer = *std::move(read);
  return Attempt::done();
}

Result<Resolved> DistributionResolver::resolve(const Context& context,
                                               const oci::Reference& reference,
                                               const Access& access) {
  Session pulling = SKIFF_TRY_WRAP(session(reference, access, Scopes::pull(reference.repository())),
                                   "resolve {}", reference.str());
  Answer answer;
  std::string host_name;
  // A mirror that may not be trusted with names can still give what a digest proves.
  auto can = reference.digest() ? &Host::pull : &Host::resolve;
  SKIFF_TRY_WRAP(pulling.over_hosts(context, pulling.hosts_that(can),
                                    [&](const Host& host) {
                                      host_name = host.name;
                                      return ask(context, pulling, host, answer);
                                    }),
                 "resolve {}", reference.str());
  return Resolved{std::move(answer.descriptor), std::move(answer.body), std::move(host_name),
                  std::make_shared<DistributionFetcher>(std::move(pulling))};
}

}  // namespace

std::unique_ptr<Resolver> make_distribution_resolver(http::Client& client,
                                                     DistributionOptions options) {
  return std::make_unique<DistributionResolver>(client, std::move(options));
}

}  // namespace skiff::registry
