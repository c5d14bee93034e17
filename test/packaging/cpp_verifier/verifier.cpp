// Verifies a serialised attestation in a file with a public key in another, and says which stage signed it.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "og_ros/verify.hpp"

int main(int count, char ** names)
{
  if (count != 3) {return 2;}
  std::ifstream key_file(names[1]), record_file(names[2], std::ios::binary);
  const std::string pem{std::istreambuf_iterator<char>(key_file), {}};
  const std::string record{std::istreambuf_iterator<char>(record_file), {}};
  try {
    const auto attestation = og_ros::decode_attestation(og_ros::View(std::string_view(record)));
    og_ros::verify(attestation, og_ros::PublicKey(pem));
    std::cout << "signed by " << attestation.statement.stage << std::endl;
  } catch (const og_ros::Error & error) {
    std::cout << og_ros::name_of(error.reason()) << ": " << error.what() << std::endl;
    return 1;
  }
  return 0;
}
