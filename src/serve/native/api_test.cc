// proto/skiff/v1 and api.h describe the same bytes: every message, filled by protobuf's own library
// as the .proto files say, passes through our structs unchanged, and neither has a field more.
#include <fstream>
#include <set>

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include "serve/native/api.h"

namespace skiff::native {
namespace {

namespace pb = google::protobuf;

// Counts the fields that a struct's visitor names.
struct Counter {
  template <class T>
  void operator()(uint32_t, const T&) {
    ++count;
  }
  int count = 0;
};

void fill(pb::Message& message, int depth);

void fill_field(pb::Message& message, const pb::FieldDescriptor& field, int depth) {
  const pb::Reflection& access = *message.GetReflection();
  using Type = pb::FieldDescriptor;
  if (field.cpp_type() == Type::CPPTYPE_MESSAGE) {
    bool many = field.is_repeated();
    fill(many ? *access.AddMessage(&message, &field) : *access.MutableMessage(&message, &field),
         depth + 1);
    return;
  }
  if (field.cpp_type() == Type::CPPTYPE_STRING) {
    if (!field.is_repeated()) return access.SetString(&message, &field, field.name());
    access.AddString(&message, &field, "first");
    return access.AddString(&message, &field, "");
  }
  ASSERT_FALSE(field.is_repeated()) << field.full_name();
  switch (field.cpp_type()) {
    case Type::CPPTYPE_BOOL: return access.SetBool(&message, &field, true);
    case Type::CPPTYPE_INT32: return access.SetInt32(&message, &field, -7);
    case Type::CPPTYPE_INT64: return access.SetInt64(&message, &field, INT64_MIN);
    case Type::CPPTYPE_UINT32: return access.SetUInt32(&message, &field, UINT32_MAX);
    case Type::CPPTYPE_UINT64: return access.SetUInt64(&message, &field, UINT64_MAX);
    case Type::CPPTYPE_DOUBLE: return access.SetDouble(&message, &field, 1.5);
    case Type::CPPTYPE_ENUM: return access.SetEnumValue(&message, &field, 1);
    default: FAIL() << field.full_name() << " has a type that the codec does not know";
  }
}

void fill(pb::Message& message, int depth) {
  ASSERT_LT(depth, 16);
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i)
    fill_field(message, *message.GetDescriptor()->field(i), depth);
}

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    // protoc's own reading of proto/skiff/v1, made at build time.
    std::ifstream file(SKIFF_API_DESCRIPTORS, std::ios::binary);
    EXPECT_TRUE(files_.ParseFromIstream(&file));
    for (const pb::FileDescriptorProto& each : files_.file()) pool_.BuildFile(each);
  }

  template <class Message>
  void expect_equal(const std::string& name) {
    SCOPED_TRACE(name);
    seen_.insert(name);
    auto* type = pool_.FindMessageTypeByName("skiff.v1." + name);
    ASSERT_NE(type, nullptr);
    std::unique_ptr<pb::Message> message(factory_.GetPrototype(type)->New());
    fill(*message, 0);
    std::string wire = message->SerializeAsString();
    auto ours = ttrpc::decode<Message>(wire);
    ASSERT_TRUE(ours) << ours.error().message();
    EXPECT_EQ(ttrpc::encode(*ours), wire);
    Counter counter;
    ours->fields(counter);
    EXPECT_EQ(counter.count, type->field_count());
  }
  // Every message of the .proto files was compared.
  void expect_all_seen() {
    for (const pb::FileDescriptorProto& file : files_.file()) {
      if (file.package() != "skiff.v1") continue;
      for (const pb::DescriptorProto& message : file.message_type())
        EXPECT_TRUE(seen_.contains(message.name())) << message.name() << " has no struct";
    }
  }

  pb::FileDescriptorSet files_;
  pb::DescriptorPool pool_;
  pb::DynamicMessageFactory factory_;
  std::set<std::string> seen_;
};

TEST_F(ApiTest, TheStructsAreWhatTheProtoFilesSay) {
#define SKIFF_COMPARE(Message) expect_equal<Message>(#Message)
  SKIFF_COMPARE(Credential);
  SKIFF_COMPARE(Access);
  SKIFF_COMPARE(LayerProgress);
  SKIFF_COMPARE(Progress);
  SKIFF_COMPARE(Image);
  SKIFF_COMPARE(PullRequest);
  SKIFF_COMPARE(PullResult);
  SKIFF_COMPARE(PullEvent);
  SKIFF_COMPARE(PushRequest);
  SKIFF_COMPARE(PushEvent);
  SKIFF_COMPARE(ListImagesRequest);
  SKIFF_COMPARE(ListImagesResponse);
  SKIFF_COMPARE(InspectImageRequest);
  SKIFF_COMPARE(InspectImageResponse);
  SKIFF_COMPARE(TagImageRequest);
  SKIFF_COMPARE(TagImageResponse);
  SKIFF_COMPARE(RemoveImageRequest);
  SKIFF_COMPARE(RemoveImageResponse);
  SKIFF_COMPARE(SaveImagesRequest);
  SKIFF_COMPARE(SaveImagesResponse);
  SKIFF_COMPARE(LoadImagesRequest);
  SKIFF_COMPARE(LoadImagesResult);
  SKIFF_COMPARE(LoadImagesEvent);
  SKIFF_COMPARE(StringList);
  SKIFF_COMPARE(Mount);
  SKIFF_COMPARE(ContainerSpec);
  SKIFF_COMPARE(TerminalSize);
  SKIFF_COMPARE(RunRequest);
  SKIFF_COMPARE(Started);
  SKIFF_COMPARE(Exited);
  SKIFF_COMPARE(RunEvent);
  SKIFF_COMPARE(WaitRequest);
  SKIFF_COMPARE(KillRequest);
  SKIFF_COMPARE(ResizeRequest);
  SKIFF_COMPARE(RemoveContainerRequest);
  SKIFF_COMPARE(ListContainersRequest);
  SKIFF_COMPARE(Container);
  SKIFF_COMPARE(ListContainersResponse);
  SKIFF_COMPARE(VersionResponse);
  SKIFF_COMPARE(Snapshotter);
  SKIFF_COMPARE(InfoResponse);
  SKIFF_COMPARE(ListLeasesRequest);
  SKIFF_COMPARE(LeaseResource);
  SKIFF_COMPARE(Lease);
  SKIFF_COMPARE(ListLeasesResponse);
  SKIFF_COMPARE(RemoveLeaseRequest);
  SKIFF_COMPARE(GcResponse);
  SKIFF_COMPARE(Space);
  SKIFF_COMPARE(DfResponse);
  SKIFF_COMPARE(FsckRequest);
  SKIFF_COMPARE(Finding);
  SKIFF_COMPARE(FsckResponse);
  SKIFF_COMPARE(LoginRequest);
#undef SKIFF_COMPARE
  expect_all_seen();
}

}  // namespace
}  // namespace skiff::native
