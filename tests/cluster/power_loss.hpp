// What a loss of power leaves of the files of a killed program: what was not synced may be there or not.
#pragma once

#include <cstddef>
#include <random>
#include <string>

namespace dmq::cluster {

// Takes back each unsynced page of the journals in this directory or leaves it, by chance. Returns the number of pages
// that were taken back. REQUIRES: who wrote the journals (preload.cpp) has ended.
std::size_t lose_power(const std::string& journals, std::mt19937_64& random);

// What was written stays: for a program that ended without a loss of power, and after lose_power().
void forget_journals(const std::string& journals);

}  // namespace dmq::cluster
