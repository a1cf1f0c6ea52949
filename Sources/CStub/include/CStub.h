// The stub's C side: libssl, libnghttp2 and system calls behind few functions. Nothing here blocks, and nothing
// decides. Functions that fail put one sentence into `error` (`capacity` bytes, always terminated).
#pragma once
#include "stub_http2.h"
#include "stub_identity.h"
#include "stub_nft.h"
#include "stub_system.h"
#include "stub_tls.h"
