#include <gtest/gtest.h>

#include "oci/descriptor.h"

namespace skiff::oci {
namespace {

std::string digest(char c) { return "sha256:" + std::string(64, c); }

std::string descriptor(std::string_view media_type, char c, std::string_view more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":7{}}})", media_type, digest(c),
                     more);
}

std::string manifest(std::string_view layers, std::string_view more = "") {
  return fmt::format(R"({{"schemaVersion":2,"config":{},"layers":{}{}}})",
                     descriptor(media_type::kOciConfig, 'c'), layers, more);
}

std::string entry(std::string_view os, std::string_view architecture, std::string_view variant,
                  char c, std::string_view type = media_type::kOciManifest) {
  return descriptor(type, c,
                    fmt::format(R"(,"platform":{{"os":"{}","architecture":"{}","variant":"{}"}})",
                                os, architecture, variant));
}

std::string index(std::vector<std::string> entries) {
  std::string list;
  for (const std::string& each : entries) list += (list.empty() ? "" : ",") + each;
  return fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", list);
}

std::string failure(std::string_view text, std::string_view type = media_type::kOciManifest) {
  auto result = Manifest::parse(text, type);
  if (result) return "no error";
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument) << result.error().message();
  return result.error().message();
}

TEST(MediaTypes, AreTold) {
  EXPECT_TRUE(is_index(media_type::kDockerList));
  EXPECT_FALSE(is_index(media_type::kDockerManifest));
  EXPECT_TRUE(is_manifest(media_type::kDockerManifest));
  for (std::string_view layer :
       {media_type::kOciLayer, media_type::kOciLayerGzip, media_type::kOciLayerZstd,
        media_type::kDockerLayer, media_type::kDockerLayerGzip, media_type::kDockerForeignLayer})
    EXPECT_TRUE(is_layer(layer)) << layer;
  EXPECT_FALSE(is_layer("application/vnd.oci.image.layer.v1.tar+xz"));
  EXPECT_FALSE(is_layer(media_type::kOciConfig));
  EXPECT_TRUE(is_non_distributable("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"));
  EXPECT_TRUE(is_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"));
  EXPECT_FALSE(is_non_distributable(media_type::kOciLayerGzip));
}

TEST(Manifest, ReadsWhatRegistriesSend) {
  std::string text = manifest(
      "[" + descriptor(media_type::kOciLayerGzip, '1', R"(,"urls":["https://x"])") + "," +
          descriptor(media_type::kOciLayerZstd, '2', R"(,"annotations":{"a":"b","n":null})") + "]",
      R"(,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"k":"v"})");
  Manifest parsed = Manifest::parse(text, media_type::kOciManifest).value();
  EXPECT_EQ(parsed.config.digest.str(), digest('c'));
  ASSERT_EQ(parsed.layers.size(), 2u);
  EXPECT_EQ(parsed.layers[0].urls, std::vector<std::string>{"https://x"});
  EXPECT_EQ(parsed.layers[1].annotations.at("a"), "b");
  EXPECT_EQ(parsed.layers[1].size, 7u);
  EXPECT_EQ(parsed.annotations.at("k"), "v");

  Manifest again = Manifest::parse(parsed.to_json_text(), media_type::kOciManifest).value();
  EXPECT_EQ(again.to_json_text(), parsed.to_json_text());
}

TEST(Manifest, TakesTheTypeFromWhoeverKnowsIt) {
  std::string plain = manifest("[]");
  EXPECT_EQ(Manifest::parse(plain, "")->media_type, media_type::kOciManifest);
  EXPECT_EQ(Manifest::parse(plain, media_type::kDockerManifest)->media_type,
            media_type::kDockerManifest);
  EXPECT_EQ(Manifest::parse(plain, "application/json; charset=utf-8")->media_type,
            media_type::kOciManifest);
  std::string docker =
      manifest("[]", fmt::format(R"(,"mediaType":"{}")", media_type::kDockerManifest));
  EXPECT_EQ(Manifest::parse(docker, "text/plain")->media_type, media_type::kDockerManifest);
}

TEST(Manifest, MayHaveNoLayers) {
  EXPECT_TRUE(Manifest::parse(manifest("[]"), "")->layers.empty());
  EXPECT_TRUE(Manifest::parse(manifest("null"), "")->layers.empty());
}

TEST(Manifest, RefusesContradictions) {
  std::string docker =
      manifest("[]", fmt::format(R"(,"mediaType":"{}")", media_type::kDockerManifest));
  EXPECT_NE(failure(docker).find("announced as"), std::string::npos);
  EXPECT_NE(failure(manifest("[]", R"(,"manifests":[])")).find("both"), std::string::npos);
  EXPECT_NE(failure(manifest("[]"), media_type::kOciIndex).find("no media type of a manifest"),
            std::string::npos);
  EXPECT_NE(failure(manifest("[]"), "text/html").find("text/html"), std::string::npos);
  EXPECT_FALSE(Index::parse(manifest("[]", R"(,"manifests":[])"), ""));
  EXPECT_FALSE(Index::parse(manifest("[]"), ""));
}

TEST(Manifest, RefusesSchema1WithAdvice) {
  EXPECT_NE(failure(R"({"schemaVersion":1,"fsLayers":[],"history":[]})").find("schema 1"),
            std::string::npos);
  EXPECT_NE(failure(R"({"schemaVersion":3,"config":{}})").find("schemaVersion 3"),
            std::string::npos);
}

TEST(Manifest, ErrorsNameTheField) {
  std::string good = descriptor(media_type::kOciLayer, '1');
  EXPECT_NE(failure(manifest("[" + good + R"(,{"mediaType":"x","digest":"nope","size":1}])"))
                .find("layers[1]: "),
            std::string::npos);
  EXPECT_EQ(failure(manifest(R"([{"mediaType":"x"}])")), "layers[0]: \"digest\" is missing");
  EXPECT_NE(failure(manifest(fmt::format(R"([{{"mediaType":"x","digest":"{}","size":-1}}])",
                                         digest('1'))))
                .find("layers[0]: \"size\""),
            std::string::npos);
  EXPECT_EQ(failure(manifest(fmt::format(
                R"([{{"mediaType":"x","digest":"{}","size":9223372036854775808}}])", digest('1')))),
            "layers[0]: \"size\" is too large");
  EXPECT_EQ(failure(R"({"schemaVersion":2,"layers":[]})"), "manifest: \"config\" is missing");
  EXPECT_EQ(failure("[]"), "the manifest is an array, no object");
  EXPECT_NE(failure(R"({"config":{})").find("manifest: "), std::string::npos);
  EXPECT_NE(failure(manifest("[1]")).find("layers[0]"), std::string::npos);
  EXPECT_NE(failure(manifest("{}")).find("\"layers\""), std::string::npos);
}

TEST(Manifest, RefusesWhatIsTooLarge) {
  std::string text =
      manifest("[]", fmt::format(R"(,"x":"{}")", std::string(kMaxManifestBytes, 'a')));
  EXPECT_NE(failure(text).find("more than"), std::string::npos);
}

std::string chosen(const std::string& text, std::string_view wanted) {
  auto result = Index::parse(text, "")->choose(Platform::parse(wanted).value());
  return result ? std::string(1, result->digest.hex()[0]) : result.error().message();
}

TEST(Index, ChoosesTheBestEntry) {
  std::string text = index({entry("linux", "amd64", "", '1'), entry("linux", "amd64", "v3", '2'),
                            entry("linux", "arm", "v6", '3'), entry("linux", "arm64", "v8", '4'),
                            entry("linux", "amd64", "", '5')});
  EXPECT_EQ(chosen(text, "linux/amd64"), "1");
  EXPECT_EQ(chosen(text, "linux/amd64/v2"), "1");
  EXPECT_EQ(chosen(text, "linux/amd64/v4"), "2");
  EXPECT_EQ(chosen(text, "linux/arm/v7"), "3");
  EXPECT_EQ(chosen(text, "arm64"), "4");
  EXPECT_EQ(chosen(text, "linux/s390x"),
            "no manifest for linux/s390x; the index offers linux/amd64, linux/amd64/v3, "
            "linux/arm/v6, linux/arm64/v8, linux/amd64");
}

TEST(Index, NeverChoosesAttestations) {
  std::string text = index({entry("unknown", "unknown", "", '1'),
                            descriptor(media_type::kOciManifest, '2',
                                       R"(,"annotations":{"vnd.docker.reference.type":"x"})")});
  EXPECT_EQ(chosen(text, "linux/amd64"), "no manifest for linux/amd64; the index offers nothing");
}

TEST(Index, FallsBackToWhatNamesNoPlatform) {
  std::string bare = descriptor(media_type::kOciManifest, '1');
  EXPECT_EQ(chosen(index({bare, entry("linux", "amd64", "", '2')}), "linux/amd64"), "2");
  EXPECT_EQ(chosen(index({entry("linux", "arm", "", '2'), bare}), "linux/amd64"), "1");
  EXPECT_EQ(chosen(index({descriptor(media_type::kOciIndex, '3')}), "linux/amd64"), "3");
  EXPECT_NE(chosen(index({descriptor("application/x", '1')}), "linux/amd64").find("nothing"),
            std::string::npos);
}

TEST(Index, RoundTrips) {
  Index parsed = Index::parse(index({entry("linux", "arm", "v7", '1')}), "").value();
  EXPECT_EQ(parsed.media_type, media_type::kOciIndex);
  Index again = Index::parse(parsed.to_json_text(), media_type::kOciIndex).value();
  EXPECT_EQ(again.to_json_text(), parsed.to_json_text());
  EXPECT_EQ(again.manifests[0].platform, (Platform{"linux", "arm", "v7", ""}));
}

TEST(Index, RefusesMalformedPlatforms) {
  EXPECT_FALSE(Index::parse(index({descriptor("x", '1', R"(,"platform":"linux")")}), ""));
  auto result = Index::parse(index({descriptor("x", '1', R"(,"platform":{"os":1})")}), "");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(),
            "manifests[0]: platform: \"os\": expected a string, not a whole number");
}

}  // namespace
}  // namespace skiff::oci
