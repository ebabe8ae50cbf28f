// gzip through ISA-L; codec/compression.h has the contract.
#pragma once

#include <memory>

#include "codec/compression.h"

namespace skiff::codec {

std::unique_ptr<ByteSource> make_gzip_source(ByteSource& source);
std::unique_ptr<Compressor> make_gzip_compressor(ByteSink& sink);

}  // namespace skiff::codec
