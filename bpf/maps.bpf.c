// SPDX-License-Identifier: GPL-2.0
// The maps, defined once.
#define WEFT_DEFINE_MAPS
#include "weft_kernel.h"

char LICENSE[] SEC("license") = "GPL";
