// zstd through libzstd; codec/compression.h has the contract.
#pragma once

#include <memory>

#include "codec/compression.h"

namespace skiff::codec {

std::unique_ptr<ByteSource> make_zstd_source(ByteSource& source);
std::unique_ptr<Compressor> make_zstd_compressor(ByteSink& sink);

}  // namespace skiff::codec
