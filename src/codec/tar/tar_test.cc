#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <archive.h>
#include <archive_entry.h>

#include "codec/tar/block.h"
#include "codec/tar/pax.h"
#include "codec/tar/reader.h"
#include "codec/tar/writer.h"

namespace skiff::codec::tar {
namespace {

struct Read {
  Entry entry;
  std::string content;  // holes as zeros
};

Result<std::vector<Read>> read_archive(std::string_view bytes, size_t step = 1 << 20,
                                       const ReaderLimits& limits = {}) {
  MemorySource source(bytes);
  BufferedWindow window(source, step);
  Reader reader(window, limits);
  std::vector<Read> all;
  while (const Entry* entry = SKIFF_TRY(reader.next())) {
    all.push_back({*entry, std::string(std::min<uint64_t>(entry->size, 1 << 22), '\0')});
    for (;;) {
      Piece piece = SKIFF_TRY(reader.next_piece());
      if (piece.bytes.empty()) break;
      all.back().content.replace(piece.offset, piece.bytes.size(), as_text(piece.bytes));
    }
  }
  return all;
}

// A header as an old writer would make it; fields may then be overwritten and summed again.
struct RawHeader {
  char block[kBlockBytes] = {};

  RawHeader(std::string_view name, char type, uint64_t size) {
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, fmt::format("{:011o}", size));
    put(136, "00000000001");
    block[156] = type;
    put(257, std::string_view("ustar\00000", 8));
  }
  RawHeader& put(size_t offset, std::string_view text) {
    std::memcpy(block + offset, text.data(), text.size());
    return *this;
  }
  std::string bytes() {
    put(148, fmt::format("{:06o}", checksum_of(block)));
    block[154] = 0;
    block[155] = ' ';
    return {block, kBlockBytes};
  }
};

std::string padded(std::string text) {
  text.resize((text.size() + 511) / 512 * 512, '\0');
  return text;
}
std::string pax(char type,
                std::initializer_list<std::pair<std::string_view, std::string_view>> records) {
  std::string text;
  for (auto& [key, value] : records) append_pax_record(text, key, value);
  return RawHeader("pax", type, text.size()).bytes() + padded(text);
}
std::string file(std::string_view name, std::string text) {
  return RawHeader(name, '0', text.size()).bytes() + padded(text);
}
const std::string kEnd(1024, '\0');

Entry entry_of(EntryType type, std::string name) {
  Entry entry;
  entry.type = type;
  entry.name = std::move(name);
  return entry;
}

std::string write_archive(const std::vector<Read>& all) {
  StringSink sink;
  Writer writer(sink);
  for (const Read& read : all) {
    EXPECT_TRUE(writer.add(read.entry));
    EXPECT_TRUE(writer.write(as_bytes(read.content)));
  }
  EXPECT_TRUE(writer.finish());
  return sink.take();
}

// One of everything that a layer can hold.
std::vector<Read> everything() {
  std::vector<Read> all;
  all.push_back({entry_of(EntryType::kDirectory, "dir/"), ""});
  all.push_back({entry_of(EntryType::kFile, "dir/file"), std::string(1000, 'x')});
  all.back().entry.mtime = {1'600'000'000, 123'456'789};
  all.back().entry.xattrs = {{"security.capability", std::string("\1\0\0\2\n=", 6)},
                             {"user.a", "b"}};
  all.push_back({entry_of(EntryType::kFile, std::string(300, 'l')), "long"});
  all.push_back(
      {entry_of(EntryType::kFile, std::string(90, 'p') + "/" + std::string(90, 'n')), "split"});
  all.push_back({entry_of(EntryType::kHardLink, "link"), ""});
  all.back().entry.link_name = "dir/file";
  all.push_back({entry_of(EntryType::kSymlink, "symlink"), ""});
  all.back().entry.link_name = std::string(200, 't');
  all.push_back({entry_of(EntryType::kCharDevice, "char"), ""});
  all.back().entry.dev_major = 0xfff;
  all.back().entry.dev_minor = 0xfffff;
  all.push_back({entry_of(EntryType::kBlockDevice, "block"), ""});
  all.push_back({entry_of(EntryType::kFifo, "fifo"), ""});
  all.push_back({entry_of(EntryType::kFile, "big ids"), ""});
  all.back().entry.uid = 4'000'000'000;
  all.back().entry.gid = 2'097'152;
  all.back().entry.mode = 06755;
  all.push_back({entry_of(EntryType::kFile, "before 1970"), "old"});
  all.back().entry.mtime = {-2, 250'000'000};
  all.back().entry.atime = Time{5, 1};
  for (Read& read : all)
    if (read.entry.type == EntryType::kFile) read.entry.size = read.content.size();
  return all;
}

void expect_equal(const Read& a, const Read& b) {
  SCOPED_TRACE(a.entry.name);
  EXPECT_EQ(a.entry.type, b.entry.type);
  EXPECT_EQ(a.entry.name, b.entry.name);
  EXPECT_EQ(a.entry.link_name, b.entry.link_name);
  EXPECT_EQ(a.entry.mode, b.entry.mode);
  EXPECT_EQ(a.entry.uid, b.entry.uid);
  EXPECT_EQ(a.entry.gid, b.entry.gid);
  EXPECT_EQ(a.entry.size, b.entry.size);
  EXPECT_EQ(a.entry.mtime, b.entry.mtime);
  EXPECT_EQ(a.entry.atime, b.entry.atime);
  EXPECT_EQ(a.entry.dev_major, b.entry.dev_major);
  EXPECT_EQ(a.entry.dev_minor, b.entry.dev_minor);
  EXPECT_EQ(a.entry.xattrs, b.entry.xattrs);
  EXPECT_EQ(a.content, b.content);
}

TEST(Tar, WhatIsWrittenIsReadBack) {
  auto all = everything();
  std::string bytes = write_archive(all);
  EXPECT_EQ(bytes, write_archive(all));
  for (size_t step : {1, 100, 512, 513, 1 << 20}) {
    auto read = read_archive(bytes, step);
    ASSERT_TRUE(read) << read.error().message();
    ASSERT_EQ(read->size(), all.size());
    for (size_t i = 0; i < all.size(); ++i) expect_equal(all[i], (*read)[i]);
  }
}

TEST(Tar, LibarchiveReadsWhatIsWritten) {
  auto all = everything();
  std::string bytes = write_archive(all);
  archive* oracle = archive_read_new();
  archive_read_support_format_tar(oracle);
  ASSERT_EQ(archive_read_open_memory(oracle, bytes.data(), bytes.size()), ARCHIVE_OK);
  for (const Read& want : all) {
    archive_entry* got = nullptr;
    ASSERT_EQ(archive_read_next_header(oracle, &got), ARCHIVE_OK) << archive_error_string(oracle);
    EXPECT_EQ(archive_entry_pathname(got), want.entry.name);
    EXPECT_EQ(archive_entry_perm(got), want.entry.mode) << want.entry.name;
    EXPECT_EQ(archive_entry_uid(got), want.entry.uid);
    if (want.entry.mtime.seconds >= 0) {  // libarchive takes the minus for the seconds alone
      EXPECT_EQ(archive_entry_mtime(got), want.entry.mtime.seconds);
      EXPECT_EQ(archive_entry_mtime_nsec(got), want.entry.mtime.nanoseconds);
    }
    EXPECT_EQ(archive_entry_xattr_count(got), static_cast<int>(want.entry.xattrs.size()));
    std::string content(want.content.size(), '\0');
    EXPECT_EQ(archive_read_data(oracle, content.data(), content.size()),
              static_cast<la_ssize_t>(content.size()));
    EXPECT_EQ(content, want.content);
  }
  archive_entry* none = nullptr;
  EXPECT_EQ(archive_read_next_header(oracle, &none), ARCHIVE_EOF);
  archive_read_free(oracle);
}

TEST(Tar, ReadsWhatLibarchiveWritesInEachFormat) {
  for (int format :
       {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FORMAT_TAR_GNUTAR}) {
    std::string bytes(1 << 16, '\0');
    size_t used = 0;
    archive* writer = archive_write_new();
    archive_write_set_format(writer, format);
    archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
    archive_entry* entry = archive_entry_new();
    std::string name = std::string(70, 'a') + "/" + std::string(90, 'b');
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 04711);
    archive_entry_set_uid(entry, 1234);
    archive_entry_set_size(entry, 5);
    archive_entry_set_mtime(entry, 1'500'000'000, 0);
    if (format == ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE) {
      archive_entry_set_uid(entry, 3'000'000'000);
      archive_entry_xattr_add_entry(entry, "user.t=st", "\0\1",
                                    2);  // only its own form can hold "="
    }
    archive_write_header(writer, entry);
    archive_write_data(writer, "12345", 5);
    archive_entry_free(entry);
    archive_write_close(writer);
    archive_write_free(writer);
    auto read = read_archive(std::string_view(bytes).substr(0, used));
    ASSERT_TRUE(read) << read.error().message();
    ASSERT_EQ(read->size(), 1u);
    const Entry& got = read->front().entry;
    EXPECT_EQ(got.name, name);
    EXPECT_EQ(got.mode, 04711u);
    EXPECT_EQ(got.mtime.seconds, 1'500'000'000);
    EXPECT_EQ(read->front().content, "12345");
    if (format == ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE) {
      EXPECT_EQ(got.uid, 3'000'000'000u);
      Xattr want{"user.t=st", std::string("\0\1", 2)};
      EXPECT_NE(std::ranges::find(got.xattrs, want), got.xattrs.end());
    }
  }
}

// GNU tar itself as the writer of its four sparse forms.
TEST(Tar, ReadsSparseFilesInAllFourForms) {
  std::string dir = testing::TempDir() + fmt::format("skiff-sparse-{}", getpid());
  ASSERT_EQ(std::system(("mkdir -p " + dir).c_str()), 0);
  std::string content(3 << 20, '\0');
  {
    std::ofstream out(dir + "/sparse");
    // More pieces than a header and one extension block hold.
    for (size_t i = 0; i < 40; ++i) {
      out.seekp(static_cast<std::streamoff>(i) << 16);
      out << "piece " << i;
      std::string piece = fmt::format("piece {}", i);
      content.replace(i << 16, piece.size(), piece);
    }
  }
  ASSERT_EQ(truncate((dir + "/sparse").c_str(), static_cast<off_t>(content.size())), 0);
  for (std::string form :
       {"--format=gnu", "--format=pax --sparse-version=0.0", "--format=pax --sparse-version=0.1",
        "--format=pax --sparse-version=1.0"}) {
    FILE* pipe = popen(fmt::format("tar -C {} {} -S -cf - sparse", dir, form).c_str(), "r");
    std::string bytes;
    char buffer[65536];
    while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) bytes.append(buffer, n);
    ASSERT_EQ(pclose(pipe), 0);
    EXPECT_LT(bytes.size(), 500'000u) << form;
    for (size_t step : {1000, 1 << 20}) {
      auto read = read_archive(bytes, step);
      ASSERT_TRUE(read) << form << ": " << read.error().message();
      ASSERT_EQ(read->size(), 1u);
      EXPECT_EQ(read->front().entry.name, "sparse") << form;
      EXPECT_TRUE(read->front().entry.sparse) << form;
      EXPECT_EQ(read->front().entry.size, content.size()) << form;
      EXPECT_EQ(read->front().content, content) << form;
    }
  }
  EXPECT_EQ(std::system(("rm -r " + dir).c_str()), 0);
}

TEST(Tar, BadSparseMapsAreErrors) {
  auto sparse = [](std::string_view map, std::string_view size) {
    return pax('x', {{"GNU.sparse.size", size},
                     {"GNU.sparse.numblocks", "2"},
                     {"GNU.sparse.map", map}}) +
           file("f", "12345678") + kEnd;
  };
  EXPECT_EQ(read_archive(sparse("0,4,10,4", "14"))->front().content, std::string("1234\0\0\0\0\0\0"
                                                                                 "5678",
                                                                                 14));
  for (std::string_view bad :
       {"0,4,10,5", "0,4,2,4", "0,4,10", "10,4,0,4", "0,4,11,4", "0,x,10,4",
        "0,18446744073709551615,10,4", "0,4,18446744073709551612,4", "-1,4,10,4"})
    EXPECT_EQ(read_archive(sparse(bad, "14")).error().code(), Code::kInvalidArgument) << bad;
  EXPECT_FALSE(read_archive(sparse("0,4,10,4", "99999999999999999999")));
  std::string one = pax('x', {{"GNU.sparse.major", "1"},
                              {"GNU.sparse.minor", "0"},
                              {"GNU.sparse.name", "f"},
                              {"GNU.sparse.realsize", "8"}});
  EXPECT_EQ(read_archive(one + file("g", padded("1\n0\n8\n") + "12345678") + kEnd)->front().content,
            "12345678");
  for (std::string bad : {"99999999999\n", "1\n0\n", "x\n", "1\n0\n9\n", ""})
    EXPECT_FALSE(read_archive(one + file("g", padded(bad) + "12345678") + kEnd)) << bad;
}

TEST(Tar, EveryNumberFieldRefusesGarbage) {
  for (size_t field : {100, 108, 116, 124, 136}) {
    for (std::string_view garbage :
         {"garbage", "-000001", "00 0008", "0x00001", "\xff\xff\x00\x00\x00\x00\x01"}) {
      bool negative_time = field == 136 && garbage[0] == '\xff';
      std::string bytes = RawHeader("f", '5', 0).put(field, garbage).bytes() + kEnd;
      auto read = read_archive(bytes);
      if (negative_time) continue;  // times may be negative
      ASSERT_FALSE(read) << field << " " << garbage;
      EXPECT_EQ(read.error().code(), Code::kInvalidArgument) << field << " " << garbage;
    }
  }
  for (size_t field : {329, 337})
    EXPECT_FALSE(read_archive(RawHeader("f", '3', 0).put(field, "garbage").bytes() + kEnd))
        << field;
  std::string bad_sum = RawHeader("f", '0', 0).bytes();
  bad_sum[150] ^= 1;
  EXPECT_EQ(read_archive(bad_sum + kEnd).error().message(),
            "tar near byte 512: a header's checksum is wrong");
  for (auto [key, value] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"uid", "x"},
           {"uid", "4294967295"},
           {"gid", "-1"},
           {"size", "1e3"},
           {"mtime", "1.x"},
           {"mtime", "99999999999999999999"},
           {"atime", "--1"},
           {"size", "9223372036854775808"}})
    EXPECT_FALSE(read_archive(pax('x', {{key, value}}) + file("f", "") + kEnd))
        << key << "=" << value;
}

TEST(Tar, NumbersInBase256) {
  EXPECT_EQ(parse_number(std::string_view("\x80\0\0\0\0\0\x01\x00", 8)), 256);
  EXPECT_EQ(parse_number("\xff\xff\xff\xff\xff\xff\xff\xfe"), -2);
  EXPECT_EQ(parse_number(std::string_view("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)),
            INT64_MAX);
  EXPECT_EQ(parse_number(std::string_view("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12)), std::nullopt);
  EXPECT_EQ(parse_number(std::string_view("\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12)), INT64_MIN);
  EXPECT_EQ(parse_number(std::string_view("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12)),
            std::nullopt);
  EXPECT_EQ(parse_number(std::string_view("\xbf\0\0\0\0\0\0\0\0\0\0\0", 12)), std::nullopt);
  EXPECT_EQ(parse_number("   644 "), 0644);
  EXPECT_EQ(parse_number(std::string_view("\0\0\0", 3)), 0);
  EXPECT_EQ(parse_number("77777777777"), 077777777777);
}

TEST(Tar, PaxTimes) {
  EXPECT_EQ(parse_pax_time("1.5"), (Time{1, 500'000'000}));
  EXPECT_EQ(parse_pax_time("-1.5"), (Time{-2, 500'000'000}));
  EXPECT_EQ(parse_pax_time("1.1234567899"), (Time{1, 123'456'789}));
  EXPECT_EQ(parse_pax_time("-0.0000000001"), (Time{-1, 999'999'999}));
  for (std::string_view bad : {"", ".", "1.a", "-", "+1", "1..2", " 1"})
    EXPECT_EQ(parse_pax_time(bad), std::nullopt);
  for (Time time : {Time{0, 0}, Time{-1, 999'999'999}, Time{-1, 1}, Time{7, 10}, Time{-5, 0}})
    EXPECT_EQ(parse_pax_time(format_pax_time(time)), time) << format_pax_time(time);
}

TEST(Tar, GlobalRecordsHoldUntilTakenBackAndLocalOnesWin) {
  auto read = read_archive(pax('g', {{"uid", "7"}, {"SCHILY.xattr.user.g", "1"}}) + file("a", "") +
                           pax('x', {{"uid", "8"}}) + file("b", "") + pax('g', {{"uid", ""}}) +
                           file("c", "") + kEnd);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ((*read)[0].entry.uid, 7u);
  EXPECT_EQ((*read)[0].entry.xattrs.at(0).name, "user.g");
  EXPECT_EQ((*read)[1].entry.uid, 8u);
  EXPECT_EQ((*read)[2].entry.uid, 0u);
}

TEST(Tar, GnuLongNamesAndLinks) {
  std::string name(500, 'n'), link(600, 'k');
  auto read = read_archive(RawHeader("././@LongLink", 'L', 501).bytes() + padded(name + '\0') +
                           RawHeader("././@LongLink", 'K', 601).bytes() + padded(link + '\0') +
                           RawHeader("short", '2', 0).put(157, "x").bytes() + kEnd);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->front().entry.name, name);
  EXPECT_EQ(read->front().entry.link_name, link);
}

TEST(Tar, OldDirectoriesEndInASlashAndLinksHaveNoContent) {
  auto read = read_archive(RawHeader("d/", '\0', 0).bytes() +
                           RawHeader("l", '1', 12345).put(157, "d").bytes() + file("f", "x"));
  ASSERT_TRUE(read) << read.error().message();
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0].entry.type, EntryType::kDirectory);
  EXPECT_EQ((*read)[1].entry.size, 0u);
}

TEST(Tar, MalformedPaxRecordsAreErrors) {
  for (std::string_view bad : {"5 a=b\n", "7 a=b\n", "x a=b\n", "6 a=bc", "6 a-b\n", "5 =b\n",
                               "999999999999999999999 a=b\n", "0 a=b\n", "-6 a=b\n", " 6 a=b\n"})
    EXPECT_FALSE(read_archive(RawHeader("p", 'x', bad.size()).bytes() + padded(std::string(bad)) +
                              file("f", "") + kEnd))
        << bad;
  EXPECT_FALSE(
      read_archive(pax('x', {{"path", std::string_view("a\0b", 3)}}) + file("f", "") + kEnd));
}

TEST(Tar, UnknownTypesAreErrorsThatNameTheEntry) {
  for (char type : {'M', 'D', 'V', 'Z', '8', '\xff'}) {
    auto read = read_archive(RawHeader("odd", type, 0).bytes() + kEnd);
    ASSERT_FALSE(read) << type;
    EXPECT_NE(read.error().message().find("\"odd\""), std::string::npos);
  }
}

TEST(Tar, LimitsHold) {
  std::string three = file("a", "123") + file("b", "456") + file("c", "789") + kEnd;
  auto code = [&](const std::string& bytes, ReaderLimits limits) {
    auto read = read_archive(bytes, 4096, limits);
    return read ? Code::kOk : read.error().code();
  };
  EXPECT_EQ(code(three, {.entries = 3}), Code::kOk);
  EXPECT_EQ(code(three, {.entries = 2}), Code::kResourceExhausted);
  EXPECT_EQ(code(three, {.total_bytes = 9}), Code::kOk);
  EXPECT_EQ(code(three, {.total_bytes = 8}), Code::kResourceExhausted);
  EXPECT_EQ(code(three, {.file_bytes = 2}), Code::kResourceExhausted);
  EXPECT_EQ(code(RawHeader("p", 'x', 1 << 30).bytes(), {}), Code::kResourceExhausted);
  EXPECT_EQ(code(RawHeader("p", 'L', 1 << 30).bytes(), {}), Code::kResourceExhausted);
  EXPECT_EQ(code(write_archive({everything()[1]}), {.xattrs = 1}), Code::kResourceExhausted);
  std::string globals;
  for (int i = 0; i < 40; ++i)
    globals += pax('g', {{fmt::format("key{}", i), std::string(1000, 'v')}});
  EXPECT_EQ(code(globals + kEnd, {.header_bytes = 20'000}), Code::kResourceExhausted);
}

TEST(Tar, EveryTruncationInsideAnEntryIsDataLoss) {
  std::string bytes =
      pax('x', {{"mtime", "1.5"}}) + file("a", std::string(700, 'x')) + file("b", "y");
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto read = read_archive(std::string_view(bytes).substr(0, size), 64);
    bool whole = size == 0 || size == 1024 + 512 + 1024;
    // The padding behind the last content is never asked for.
    if (whole || size >= bytes.size() - 511) continue;
    if (size >= 1024 + 512 + 700 && size < 1024 + 512 + 1024) {
      EXPECT_FALSE(read) << size;
      continue;
    }
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().code(), Code::kDataLoss) << size;
  }
  EXPECT_EQ(read_archive("").value().size(), 0u);
  EXPECT_FALSE(read_archive(std::string(512, '\0') + file("a", "")));
}

TEST(Tar, TheWriterRefusesWhatItCannotWrite) {
  StringSink sink;
  Writer writer(sink);
  Entry entry = entry_of(EntryType::kFile, "f");
  entry.size = 3;
  ASSERT_TRUE(writer.add(entry));
  EXPECT_FALSE(writer.write(as_bytes("1234")));
  EXPECT_TRUE(writer.write(as_bytes("12")));
  EXPECT_EQ(writer.finish().error().message(), "tar: 1 of 3 bytes are missing from \"f\"");
  EXPECT_FALSE(Writer(sink).add(entry_of(EntryType::kFile, "")));
  EXPECT_FALSE(Writer(sink).add(entry_of(EntryType::kFile, std::string("a\0b", 3))));
}

}  // namespace
}  // namespace skiff::codec::tar
