#include "tests/suites/content_suite.h"

#include <thread>

#include <gmock/gmock.h>

#include "codec/hash.h"

namespace skiff::content {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

namespace {

Code code_of(const auto& result) { return result ? Code::kOk : result.error().code(); }

std::vector<std::string> refs(const std::vector<IngestStatus>& statuses) {
  std::vector<std::string> all;
  for (const auto& status : statuses) all.push_back(status.ref);
  return all;
}

}  // namespace

Digest ContentSuite::put(const Context& context, std::string_view text, const Labels& labels) {
  Digest digest = codec::digest_of(text);
  auto ingest = store().ingest(context, "put-" + digest.str(), {digest, text.size()});
  EXPECT_TRUE(ingest) << ingest.error().message();
  EXPECT_TRUE((*ingest)->write(as_bytes(text)));
  auto done = (*ingest)->commit(context, {}, {.labels = labels});
  EXPECT_TRUE(done) << done.error().message();
  return digest;
}

std::string ContentSuite::get(const Context& context, const Digest& digest) {
  auto reader = store().open(context, digest);
  if (!reader) return reader.error().message();
  auto stream = source(*reader);
  return read_all(*stream, 1 << 30).value_or("unreadable");
}

TEST_P(ContentSuite, CommittedBlobsAreReadAndDescribed) {
  Digest digest = put(context_, "hello world", {{"a", "1"}});
  auto info = store().info(context_, digest);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->digest, digest);
  EXPECT_EQ(info->size, 11u);
  EXPECT_THAT(info->labels, ElementsAre(Pair("a", "1")));
  EXPECT_GT(info->created, 0);
  EXPECT_EQ(get(context_, digest), "hello world");

  auto reader = *store().open(context_, digest);
  EXPECT_EQ(reader->size(), 11u);
  char buffer[5];
  MutableBytes bytes(reinterpret_cast<std::byte*>(buffer), sizeof buffer);
  EXPECT_EQ(reader->read_at(bytes, 6).value(), 5u);
  EXPECT_EQ(std::string_view(buffer, 5), "world");
  EXPECT_EQ(reader->read_at(bytes, 11).value(), 0u);
  EXPECT_EQ(reader->read_at(bytes, 1000).value(), 0u);
}

TEST_P(ContentSuite, TheEmptyBlob) {
  Digest digest = put(context_, "");
  EXPECT_EQ(store().info(context_, digest)->size, 0u);
  EXPECT_EQ(get(context_, digest), "");
}

TEST_P(ContentSuite, MissingBlobsAreNotFound) {
  Digest digest = codec::digest_of("nobody");
  EXPECT_EQ(code_of(store().info(context_, digest)), Code::kNotFound);
  EXPECT_EQ(code_of(store().open(context_, digest)), Code::kNotFound);
  EXPECT_EQ(code_of(store().update(context_, digest, {}, {})), Code::kNotFound);
  EXPECT_EQ(code_of(store().remove(context_, digest)), Code::kNotFound);
  EXPECT_EQ(code_of(store().share(context_, digest, {})), Code::kNotFound);
  EXPECT_EQ(code_of(store().abort(context_, "nothing")), Code::kNotFound);
}

TEST_P(ContentSuite, NothingIsVisibleBeforeCommit) {
  Digest digest = codec::digest_of("abc");
  auto ingest = *store().ingest(context_, "r", {digest, 3});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_EQ(code_of(store().info(context_, digest)), Code::kNotFound);
  auto statuses = store().ingests(context_);
  ASSERT_TRUE(statuses);
  ASSERT_EQ(statuses->size(), 1u);
  EXPECT_EQ(statuses->front().ref, "r");
  EXPECT_EQ(statuses->front().offset, 3u);
  EXPECT_EQ(statuses->front().total, 3u);
  EXPECT_EQ(statuses->front().expected, digest);
  ASSERT_TRUE(ingest->commit(context_, {}, {}));
  EXPECT_TRUE(store().info(context_, digest));
  EXPECT_THAT(*store().ingests(context_), IsEmpty());
}

TEST_P(ContentSuite, AWrongDigestIsDataLossAndARetryStartsAnew) {
  Digest digest = codec::digest_of("right");
  auto ingest = *store().ingest(context_, "r", {digest, 5});
  ASSERT_TRUE(ingest->write(as_bytes("wrong")));
  EXPECT_EQ(code_of(ingest->commit(context_, {}, {})), Code::kDataLoss);
  ingest.reset();
  EXPECT_EQ(code_of(store().info(context_, digest)), Code::kNotFound);
  EXPECT_THAT(*store().ingests(context_), IsEmpty());
  ingest = *store().ingest(context_, "r", {digest, 5});
  EXPECT_EQ(ingest->offset(), 0u);
  ASSERT_TRUE(ingest->write(as_bytes("right")));
  EXPECT_TRUE(ingest->commit(context_, {}, {}));
}

TEST_P(ContentSuite, AWrongSizeIsDataLoss) {
  for (std::string_view text : {"four", "sixsix"}) {
    auto ingest = *store().ingest(context_, "r", {{}, 5});
    ASSERT_TRUE(ingest->write(as_bytes(text)));
    EXPECT_EQ(code_of(ingest->commit(context_, {}, {})), Code::kDataLoss) << text;
  }
}

TEST_P(ContentSuite, TheCommitMayKnowWhatTheStartDidNot) {
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_EQ(*ingest->commit(context_, {codec::digest_of("abc"), 3}, {}), codec::digest_of("abc"));
  ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abd")));
  EXPECT_EQ(code_of(ingest->commit(context_, {codec::digest_of("abc"), 3}, {})), Code::kDataLoss);
  ingest = *store().ingest(context_, "r", {codec::digest_of("abd"), 3});
  ASSERT_TRUE(ingest->write(as_bytes("abd")));
  EXPECT_EQ(code_of(ingest->commit(context_, {codec::digest_of("abe"), 3}, {})),
            Code::kFailedPrecondition);
}

TEST_P(ContentSuite, Sha512) {
  Digest digest = codec::digest_of(as_bytes("abc"), DigestAlgorithm::kSha512);
  auto ingest = *store().ingest(context_, "r", {digest, 3});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  // A digest of another algorithm does not stand for it.
  EXPECT_EQ(*ingest->commit(context_, {}, {.computed = codec::digest_of("abc")}), digest);
  EXPECT_EQ(get(context_, digest), "abc");
}

TEST_P(ContentSuite, AComputedDigestIsHeldAgainstTheExpectedOne) {
  Digest digest = codec::digest_of("abc");
  auto ingest = *store().ingest(context_, "r", {digest, 3});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_EQ(code_of(ingest->commit(context_, {}, {.computed = codec::digest_of("abd")})),
            Code::kDataLoss);
  ingest.reset();
  ingest = *store().ingest(context_, "r", {digest, 3});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_TRUE(ingest->commit(context_, {}, {.computed = digest}));
}

TEST_P(ContentSuite, IngestsResume) {
  Digest digest = codec::digest_of("first second");
  auto ingest = *store().ingest(context_, "r", {digest, 12});
  ASSERT_TRUE(ingest->write(as_bytes("first ")));
  ingest.reset();
  harness_->restart();
  ingest = *store().ingest(context_, "r", {digest, 12});
  ASSERT_EQ(ingest->offset(), 6u);
  char buffer[6];
  EXPECT_EQ(ingest->read_at({reinterpret_cast<std::byte*>(buffer), 6}, 0).value(), 6u);
  EXPECT_EQ(std::string_view(buffer, 6), "first ");
  ASSERT_TRUE(ingest->write(as_bytes("second")));
  ASSERT_TRUE(ingest->commit(context_, {}, {}));
  harness_->restart();
  EXPECT_EQ(get(context_, digest), "first second");
}

TEST_P(ContentSuite, PiecesMayComeOutOfOrder) {
  auto ingest = *store().ingest(context_, "r", {codec::digest_of("aabbcc"), 6});
  ASSERT_TRUE(ingest->write_at(as_bytes("cc"), 4));
  ASSERT_TRUE(ingest->write_at(as_bytes("aa"), 0));
  EXPECT_EQ(ingest->offset(), 0u);
  ASSERT_TRUE(ingest->advance(2));
  EXPECT_EQ(ingest->offset(), 2u);
  // Bytes beyond the prefix cannot be committed, nor does a resume count on them.
  ingest.reset();
  ingest = *store().ingest(context_, "r", {codec::digest_of("aabbcc"), 6});
  EXPECT_EQ(ingest->offset(), 2u);
  ASSERT_TRUE(ingest->write_at(as_bytes("cc"), 4));
  ASSERT_TRUE(ingest->write_at(as_bytes("bb"), 2));
  ASSERT_TRUE(ingest->advance(6));
  EXPECT_FALSE(ingest->advance(3));
  EXPECT_TRUE(ingest->commit(context_, {}, {}));
}

TEST_P(ContentSuite, AGapIsNotCommitted) {
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("aa")));
  ASSERT_TRUE(ingest->write_at(as_bytes("cc"), 4));
  EXPECT_EQ(code_of(ingest->commit(context_, {}, {})), Code::kDataLoss);
}

TEST_P(ContentSuite, AfterItsEndAnIngestTakesNothing) {
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  Digest digest = *ingest->commit(context_, {}, {});
  EXPECT_EQ(code_of(ingest->write(as_bytes("d"))), Code::kFailedPrecondition);
  EXPECT_EQ(code_of(ingest->write_at(as_bytes("X"), 0)), Code::kFailedPrecondition);
  EXPECT_EQ(code_of(ingest->commit(context_, {}, {})), Code::kFailedPrecondition);
  EXPECT_EQ(get(context_, digest), "abc");
  auto next = store().ingest(context_, "r", {});
  ASSERT_TRUE(next) << "the ref is free at once";
  ingest.reset();
  EXPECT_EQ(code_of(store().ingest(context_, "r", {})), Code::kUnavailable);
}

TEST_P(ContentSuite, Truncate) {
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abcdef")));
  ASSERT_TRUE(ingest->truncate(3));
  EXPECT_EQ(ingest->offset(), 3u);
  EXPECT_FALSE(ingest->truncate(4));
  ASSERT_TRUE(ingest->write(as_bytes("X")));
  EXPECT_EQ(*ingest->commit(context_, {}, {}), codec::digest_of("abcX"));
}

TEST_P(ContentSuite, OneWriterARef) {
  auto ingest = *store().ingest(context_, "r", {});
  EXPECT_EQ(code_of(store().ingest(context_, "r", {})), Code::kUnavailable);
  EXPECT_EQ(code_of(store().abort(context_, "r")), Code::kUnavailable);
  EXPECT_TRUE(store().ingest(other_, "r", {})) << "refs are per namespace";
  ingest.reset();
  EXPECT_TRUE(store().ingest(context_, "r", {}));
  EXPECT_EQ(code_of(store().ingest(context_, "", {})), Code::kInvalidArgument);
}

TEST_P(ContentSuite, AResumedIngestKeepsItsExpectations) {
  {
    auto ingest = *store().ingest(context_, "r", {codec::digest_of("abc"), 3});
  }
  EXPECT_EQ(code_of(store().ingest(context_, "r", {codec::digest_of("xyz"), 3})),
            Code::kFailedPrecondition);
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("xyz")));
  EXPECT_EQ(code_of(ingest->commit(context_, {}, {})), Code::kDataLoss);
}

TEST_P(ContentSuite, Abort) {
  {
    auto ingest = *store().ingest(context_, "r", {});
    ASSERT_TRUE(ingest->write(as_bytes("abc")));
  }
  EXPECT_THAT(refs(*store().ingests(context_)), ElementsAre("r"));
  ASSERT_TRUE(store().abort(context_, "r"));
  EXPECT_THAT(*store().ingests(context_), IsEmpty());
  EXPECT_EQ((*store().ingest(context_, "r", {}))->offset(), 0u);
}

TEST_P(ContentSuite, AnExistingBlobNeedsNoIngest) {
  Digest digest = put(context_, "abc");
  EXPECT_EQ(code_of(store().ingest(context_, "r", {digest, 3})), Code::kAlreadyExists);
  // Another namespace does not learn that it is there.
  EXPECT_TRUE(store().ingest(other_, "r", {digest, 3}));
}

TEST_P(ContentSuite, TheSameBlobTwiceIsSuccess) {
  auto first = *store().ingest(context_, "1", {});
  auto second = *store().ingest(context_, "2", {});
  ASSERT_TRUE(first->write(as_bytes("abc")));
  ASSERT_TRUE(second->write(as_bytes("abc")));
  ASSERT_TRUE(first->commit(context_, {}, {.labels = {{"a", "1"}}}));
  ASSERT_TRUE(second->commit(context_, {}, {.labels = {{"b", "2"}}}));
  EXPECT_THAT(store().info(context_, codec::digest_of("abc"))->labels,
              ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(*store().ingests(context_), IsEmpty());
  EXPECT_EQ(get(context_, codec::digest_of("abc")), "abc");
}

TEST_P(ContentSuite, ManyWritersOfOneBlob) {
  const std::string text(300'000, 'x');
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      Context mine = i % 2 == 0 ? context_ : other_;
      auto ingest = store().ingest(mine, std::to_string(i), {});
      if (!ingest || !(*ingest)->write(as_bytes(text))) return;
      auto durability = i % 3 == 0 ? metadata::Durability::kDurable : metadata::Durability::kRides;
      if ((*ingest)->commit(mine, {}, {.durability = durability})) ++good;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(get(context_, codec::digest_of(text)), text);
  EXPECT_EQ(get(other_, codec::digest_of(text)), text);
}

TEST_P(ContentSuite, NamespacesShareBytesButNotNames) {
  Digest digest = put(context_, "abc", {{"mine", "1"}});
  EXPECT_EQ(code_of(store().info(other_, digest)), Code::kNotFound);
  EXPECT_EQ(code_of(store().open(other_, digest)), Code::kNotFound);
  auto shared = store().share(other_, digest, {{"theirs", "2"}});
  ASSERT_TRUE(shared);
  EXPECT_EQ(shared->size, 3u);
  EXPECT_THAT(shared->labels, ElementsAre(Pair("theirs", "2")));
  EXPECT_THAT(store().info(context_, digest)->labels, ElementsAre(Pair("mine", "1")));
  ASSERT_TRUE(store().remove(context_, digest));
  EXPECT_EQ(code_of(store().info(context_, digest)), Code::kNotFound);
  EXPECT_EQ(get(other_, digest), "abc");
  ASSERT_TRUE(store().remove(other_, digest));
  EXPECT_EQ(code_of(store().share(context_, digest, {})), Code::kNotFound);
}

TEST_P(ContentSuite, AReaderOutlivesTheBlob) {
  Digest digest = put(context_, "abc");
  auto reader = *store().open(context_, digest);
  ASSERT_TRUE(store().remove(context_, digest));
  auto stream = source(reader, 1);
  EXPECT_EQ(read_all(*stream, 100).value(), "bc");
  EXPECT_EQ(put(context_, "abc"), digest) << "and it can come back";
}

TEST_P(ContentSuite, UpdateFollowsFieldPaths) {
  Digest digest = put(context_, "abc", {{"a", "1"}, {"b", "2"}});
  auto info = store().update(context_, digest, {{"b", "3"}, {"c", "4"}}, {"labels.b"});
  ASSERT_TRUE(info);
  EXPECT_THAT(info->labels, ElementsAre(Pair("a", "1"), Pair("b", "3")));
  info = store().update(context_, digest, {{"a", ""}}, {"labels.a"});
  EXPECT_THAT(info->labels, ElementsAre(Pair("b", "3")));
  info = store().update(context_, digest, {{"z", "9"}}, {});
  EXPECT_THAT(info->labels, ElementsAre(Pair("z", "9")));
  EXPECT_EQ(code_of(store().update(context_, digest, {}, {"size"})), Code::kInvalidArgument);
  EXPECT_THAT(store().info(context_, digest)->labels, ElementsAre(Pair("z", "9")));
}

TEST_P(ContentSuite, WalkFilters) {
  Digest one = put(context_, "1", {{"kind", "odd"}});
  Digest two = put(context_, "2", {{"kind", "even"}});
  Digest three = put(context_, "3", {{"kind", "odd"}});
  put(other_, "4", {{"kind", "odd"}});
  auto walk = [&](const std::vector<std::string>& filters) {
    std::vector<Digest> found;
    Status status = store().walk(context_, filters, [&](const BlobInfo& info) {
      found.push_back(info.digest);
      return ok();
    });
    EXPECT_TRUE(status) << status.error().message();
    return found;
  };
  EXPECT_THAT(walk({}), UnorderedElementsAre(one, two, three));
  EXPECT_THAT(walk({"labels.kind==odd"}), UnorderedElementsAre(one, three));
  EXPECT_THAT(walk({"labels.kind==even", "digest==" + one.str()}), UnorderedElementsAre(one, two));
  auto nothing = [](const BlobInfo&) { return ok(); };
  EXPECT_EQ(code_of(store().walk(context_, {"labels.kind="}, nothing)), Code::kInvalidArgument);
  int seen = 0;
  Status stopped = store().walk(context_, {}, [&](const BlobInfo&) -> Status {
    ++seen;
    return fail(Code::kAborted, "enough");
  });
  EXPECT_EQ(code_of(stopped), Code::kAborted);
  EXPECT_EQ(seen, 1);
}

TEST_P(ContentSuite, AStoppedContextDoesNothing) {
  std::stop_source stop;
  stop.request_stop();
  Context stopped = context_.with_stop(stop.get_token());
  EXPECT_EQ(code_of(store().ingest(stopped, "r", {})), Code::kCanceled);
  EXPECT_THAT(*store().ingests(context_), IsEmpty());
  auto ingest = *store().ingest(context_, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_EQ(code_of(ingest->commit(stopped, {}, {})), Code::kCanceled);
  EXPECT_EQ(code_of(store().info(context_, codec::digest_of("abc"))), Code::kNotFound);
  EXPECT_TRUE(ingest->commit(context_, {}, {})) << "and it can be committed after all";
}

}  // namespace skiff::content
