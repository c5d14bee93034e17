// Feeds any bytes to every parser of the headers: with libFuzzer (clang -fsanitize=fuzzer), or from files and their
// mutations (`fuzz SECONDS FILE...`) where there is none. Whatever is refused must be refused by og_ros::Error.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "og_ros/verify.hpp"

// The first byte chooses the parser. What is accepted must have exactly one form: its own bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t * data, std::size_t size)
{
  static const og_ros::NoteKey key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  if (size == 0) {return 0;}
  const og_ros::View input(data + 1, size - 1);
  try {
    switch (data[0] % 5) {
      case 0: {
          const auto found = og_ros::decode_attestation(input);
          const auto again = og_ros::decode_attestation(og_ros::encode_attestation(found));
          if (again.cose != found.cose) {std::abort();}
          break;
        }
      case 1: {
          const auto found = og_ros::decode_cose(input);
          if (og_ros::View(found.cose) != input) {std::abort();}
          break;
        }
      case 2:
        og_ros::open_checkpoint(input.text(), key);
        break;
      case 3:
        og_ros::verify_log_proof(input, input.text(), key);
        break;
      default:
        (void)og_ros::NoteKey(input.text());
    }
  } catch (const og_ros::Error &) {
    return 0;
  }
  return 0;
}

#ifdef OG_ROS_FUZZ_MAIN
#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <vector>

int main(int count, char ** values)
{
  std::vector<og_ros::Bytes> seeds;
  for (int at = 2; at < count; ++at) {
    std::ifstream file(values[at], std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    LLVMFuzzerTestOneInput(seeds.back().data(), seeds.back().size());
  }
  std::mt19937_64 random(7);
  const auto pick = [&random](std::size_t below) {return static_cast<std::size_t>(random() % (below ? below : 1));};
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(values[1]));
  std::uint64_t runs = 0;
  while (!seeds.empty() && std::chrono::steady_clock::now() < end) {
    og_ros::Bytes input = seeds[pick(seeds.size())];
    for (std::size_t changes = 1 + pick(4); changes > 0 && input.size() > 1; --changes) {
      const std::size_t at = 1 + pick(input.size() - 1);
      const auto byte = static_cast<std::uint8_t>(random());
      switch (pick(5)) {
        case 0: input[at] = byte; break;
        case 1: input[at] = static_cast<std::uint8_t>(input[at] ^ 1u << pick(8)); break;
        case 2: input.resize(at); break;
        case 3: input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), 1 + pick(9), byte); break;
        default: input.erase(
            input.begin() + static_cast<std::ptrdiff_t>(at),
            input.begin() + static_cast<std::ptrdiff_t>(std::min(input.size(), at + 1 + pick(9))));
      }
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
    ++runs;
  }
  std::cout << runs << " runs" << std::endl;
  return 0;
}
#endif
