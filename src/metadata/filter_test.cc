#include <gtest/gtest.h>

#include "metadata/filter.h"
