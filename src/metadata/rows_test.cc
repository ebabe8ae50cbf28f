#include <gtest/gtest.h>

#include "metadata/rows.h"
