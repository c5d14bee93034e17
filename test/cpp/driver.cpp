// Answers a test's questions about the headers, one a line: `kind argument...`, arguments in hex ("-" is empty).
// The answer is `ok ...` or `refused <reason> <message>`; anything else is a failure of the headers.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "og_ros/attest.hpp"
#include "og_ros/verify.hpp"

namespace
{

using Arguments = std::vector<std::string>;

std::string unhex(const std::string & text)
{
  std::string bytes;
  if (text == "-") {return bytes;}
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

og_ros::View view(const std::string & bytes) {return og_ros::View(std::string_view(bytes));}

og_ros::Digest digest_of(const std::string & bytes)
{
  og_ros::Digest digest{};
  if (bytes.size() != digest.size()) {throw og_ros::Error(og_ros::Reason::proof, "a hash is not 32 bytes long");}
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::vector<og_ros::Digest> path_of(const Arguments & a, std::size_t from)
{
  std::vector<og_ros::Digest> path;
  for (; from < a.size(); ++from) {path.push_back(digest_of(a[from]));}
  return path;
}

std::string forms(const og_ros::Attestation & attestation)
{
  return og_ros::hex(attestation.digest) + " " + og_ros::hex(attestation.cose) + " " +
         og_ros::hex(og_ros::encode_attestation(attestation));
}

og_ros::Producer planner()
{
  og_ros::Producer producer;
  producer.robot = "robot-7";
  producer.stage = "planning";
  producer.node = "/planner";
  producer.model.name = "planner";
  producer.model.digest = og_ros::detail::sha256(view("model"));
  producer.runtime.name = "none";
  return producer;
}

std::string attest(const Arguments & a)
{
  std::string made;
  og_ros::SigningQueue queue(
    og_ros::Attestor(planner(), og_ros::PrivateKey::parse(a.at(0))),
    [&made](const og_ros::Attestation &, const og_ros::Bytes & wire) {made += og_ros::hex(wire) + " ";},
    [&made](const std::string & why) {made += "[" + why + "] ";}, 4);
  for (int count = std::stoi(a.at(1)); count > 0; --count) {
    og_ros::Inference inference;
    inference.inputs = {og_ros::reference_to("/scan", "sensor_msgs/msg/LaserScan", view(a.at(2)), 12)};
    inference.outputs = {
      og_ros::reference_to("/path", "nav_msgs/msg/Path", view(a.at(3)), 0, {}, "sha256-tree")};
    inference.began = std::chrono::steady_clock::now();
    inference.start = 1'000'000'007;
    inference.clock = og_ros::Clock::sim;
    queue.push(inference);
  }
  queue.close();
  return made;
}

// How many inferences waited at most for a signature that takes 5 ms, of 60 that come at once, after the first.
std::string backlog(const Arguments & a)
{
  std::atomic<int> sent{0};
  og_ros::SigningQueue queue(
    og_ros::Attestor(planner(), og_ros::PrivateKey::parse(a.at(0))),
    [&sent](const og_ros::Attestation &, const og_ros::Bytes &) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++sent;
    },
    [](const std::string &) {},
    std::stoul(a.at(1)), std::chrono::milliseconds(std::stoi(a.at(2))));
  int most = 0;
  for (int pushed = 1; pushed <= 60; ++pushed) {
    og_ros::Inference inference;
    inference.outputs = {og_ros::reference_to("/path", "nav_msgs/msg/Path", view(a.at(3)), 0)};
    inference.began = std::chrono::steady_clock::now();
    inference.start = 1'000'000'007;
    inference.clock = og_ros::Clock::sim;
    queue.push(inference);
    while (pushed == 1 && sent == 0) {std::this_thread::yield();}  // what a signature takes is known from then on
    most = std::max(most, pushed - sent);
  }
  queue.close();
  return std::to_string(most) + " " + std::to_string(sent);
}

std::string answer(const std::string & kind, const Arguments & a)
{
  using og_ros::verify;
  if (kind == "wire" || kind == "cose") {
    const auto made = kind == "wire" ? og_ros::decode_attestation(view(a.at(1))) : og_ros::decode_cose(view(a.at(1)));
    verify(made, og_ros::PublicKey(a.at(0)));
    return forms(made);
  }
  if (kind == "session") {
    const og_ros::PublicKey key(a.at(0));
    std::vector<og_ros::Attestation> session;
    for (std::size_t at = 1; at < a.size(); ++at) {
      session.push_back(og_ros::decode_cose(view(a[at])));
      verify(session.back(), key);
    }
    og_ros::verify_session(session);
    return "";
  }
  if (kind == "digest") {
    const og_ros::View payload = view(a.at(1));
    return og_ros::hex(og_ros::digest(payload, a.at(0))) + " " + std::to_string(og_ros::covered_size(payload));
  }
  if (kind == "inclusion") {
    og_ros::verify_inclusion(
      og_ros::leaf_hash(view(a.at(0))), std::stoull(a.at(1)), std::stoull(a.at(2)), path_of(a, 4), digest_of(a.at(3)));
    return "";
  }
  if (kind == "consistency") {
    og_ros::verify_consistency(
      std::stoull(a.at(0)), std::stoull(a.at(1)), path_of(a, 4), digest_of(a.at(2)), digest_of(a.at(3)));
    return "";
  }
  if (kind == "checkpoint") {
    const auto found = og_ros::open_checkpoint(a.at(2), og_ros::NoteKey(a.at(0)), a.at(1));
    return std::to_string(found.size) + " " + og_ros::hex(found.root);
  }
  if (kind == "log_proof") {
    const auto found = og_ros::verify_log_proof(view(a.at(2)), a.at(3), og_ros::NoteKey(a.at(0)), a.at(1));
    return std::to_string(found.size) + " " + og_ros::hex(found.root);
  }
  if (kind == "sign") {
    return forms(og_ros::sign(og_ros::decode_cose(view(a.at(1))).statement, og_ros::PrivateKey::parse(a.at(0))));
  }
  if (kind == "sign_bytes") {return og_ros::hex(og_ros::PrivateKey::parse(a.at(0)).sign(view(a.at(1))));}
  if (kind == "key") {
    const og_ros::PublicKey key(a.at(0));
    return og_ros::hex(key.id()) + " " + std::to_string(static_cast<int>(key.algorithm()));
  }
  if (kind == "load") {return og_ros::hex(og_ros::PrivateKey::load(a.at(0)).id());}
  if (kind == "attest") {return attest(a);}
  if (kind == "backlog") {return backlog(a);}
  throw std::invalid_argument("no such question: " + kind);
}

}  // namespace

int main()
{
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line); ) {
    std::istringstream words(line);
    std::string kind, word;
    Arguments arguments;
    words >> kind;
    while (words >> word) {arguments.push_back(unhex(word));}
    try {
      const std::string found = answer(kind, arguments);
      std::cout << "ok " << found << std::endl;
    } catch (const og_ros::Error & error) {
      std::cout << "refused " << og_ros::name_of(error.reason()) << " " << error.what() << std::endl;
    }
  }
  return 0;
}
