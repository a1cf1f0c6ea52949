#pragma once
#include <sys/types.h>
#include "weft_capture.h"
#include "weft_loop.h"
#include "weft_lab.h"
#include "weft_netns.h"
#include "weft_fdpass.h"
#include "weft_spawn.h"
