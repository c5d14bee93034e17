// A real ROS node in C++ on rcl: `publish KEY COUNT` attests outputs; `verify PUBLIC COUNT` checks another stage's.
//
// rclcpp is not on PyPI and rcl is, which is what rclcpp itself publishes and takes serialised messages with.
#include <rcl/error_handling.h>
#include <rcl/rcl.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "og_ros/attest.hpp"
#include "og_ros/msg/attestation.hpp"
#include "og_ros/verify.hpp"
#include "rosidl_typesupport_cpp/message_type_support.hpp"
#include "std_msgs/msg/string.hpp"

namespace
{

constexpr const char * kOutput = "/cpp/said";
constexpr const char * kHeard = "/py/said";

void fine(rcl_ret_t code, const char * what)
{
  if (code != RCL_RET_OK) {throw std::runtime_error(std::string(what) + ": " + rcl_get_error_string().str);}
}

template<typename MessageT>
const rosidl_message_type_support_t * support()
{
  return rosidl_typesupport_cpp::get_message_type_support_handle<MessageT>();
}

template<typename Condition>
void wait_for(Condition condition, const char * what)
{
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {throw std::runtime_error(std::string("no ") + what + " in 60 s");}
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void send(rcl_publisher_t & publisher, const og_ros::Bytes & bytes)
{
  rcl_serialized_message_t message = rmw_get_zero_initialized_serialized_message();
  message.buffer = const_cast<std::uint8_t *>(bytes.data());
  message.buffer_length = message.buffer_capacity = bytes.size();
  fine(rcl_publish_serialized_message(&publisher, &message, nullptr), "publish");
}

rcl_publisher_t publisher_on(rcl_node_t & node, const std::string & topic, const rosidl_message_type_support_t * type)
{
  rcl_publisher_t publisher = rcl_get_zero_initialized_publisher();
  rcl_publisher_options_t options = rcl_publisher_get_default_options();
  options.qos.depth = 1000;
  fine(rcl_publisher_init(&publisher, &node, type, topic.c_str(), &options), "publisher");
  return publisher;
}

bool is_heard(const rcl_publisher_t & publisher)
{
  std::size_t count = 0;
  fine(rcl_publisher_get_subscription_count(&publisher, &count), "count");
  return count > 0;
}

void publish(rcl_node_t & node, const std::string & key, int count)
{
  rcl_publisher_t output = publisher_on(node, kOutput, support<std_msgs::msg::String>());
  rcl_publisher_t attestations =
    publisher_on(node, std::string(kOutput) + "/attestation", support<og_ros::msg::Attestation>());
  wait_for([&] {return is_heard(output) && is_heard(attestations);}, "listener");
  og_ros::Producer producer;
  producer.robot = "robot-7";
  producer.stage = "planning";
  producer.node = rcl_node_get_fully_qualified_name(&node);
  producer.model.name = "rules";
  producer.model.format = "rules";
  producer.runtime.name = "none";
  og_ros::SigningQueue queue(
    og_ros::Attestor(std::move(producer), og_ros::PrivateKey::load(key)),
    [&](const og_ros::Attestation &, const og_ros::Bytes & bytes) {send(attestations, bytes);},
    [](const std::string & why) {std::cerr << why << std::endl;});
  for (int number = 0; number < count; ++number) {
    og_ros::detail::CdrWriter writer;
    writer.text("decision " + std::to_string(number));
    const og_ros::Bytes message = writer.payload();
    og_ros::Inference inference;
    inference.began = std::chrono::steady_clock::now();
    inference.start = 1'000'000'000;
    inference.inputs = {og_ros::reference_to("/scan", "sensor_msgs/msg/LaserScan", message)};
    send(output, message);
    inference.duration = std::chrono::steady_clock::now() - inference.began;
    inference.outputs = {og_ros::reference_to(kOutput, "std_msgs/msg/String", message)};
    queue.push(std::move(inference));
  }
  queue.close();
  fine(rcl_publisher_wait_for_all_acked(&attestations, RCL_S_TO_NS(10)), "acknowledgements");
  std::cout << "published " << count << std::endl;
  fine(rcl_publisher_fini(&output, &node), "end");
  fine(rcl_publisher_fini(&attestations, &node), "end");
}

void verify(rcl_node_t & node, const std::string & pem, std::uint64_t count)
{
  const og_ros::PublicKey key(pem);
  og_ros::SessionVerifier session;
  rcl_subscription_t subscription = rcl_get_zero_initialized_subscription();
  rcl_subscription_options_t options = rcl_subscription_get_default_options();
  options.qos.depth = 1000;
  const std::string topic = std::string(kHeard) + "/attestation";
  fine(
    rcl_subscription_init(&subscription, &node, support<og_ros::msg::Attestation>(), topic.c_str(), &options),
    "subscription");
  rcl_allocator_t allocator = rcl_get_default_allocator();
  rcl_serialized_message_t message = rmw_get_zero_initialized_serialized_message();
  fine(rmw_serialized_message_init(&message, 0, &allocator), "message");
  wait_for(
    [&] {
      while (rcl_take_serialized_message(&subscription, &message, nullptr, nullptr) == RCL_RET_OK) {
        const auto attestation = og_ros::decode_attestation(og_ros::View(message.buffer, message.buffer_length));
        og_ros::verify(attestation, key);
        session.add(attestation);
        std::cout << og_ros::hex(attestation.digest) << std::endl;
      }
      return session.expected() >= count;
    }, "attestations");
  std::cout << "verified " << session.expected() << " lost " << session.lost() << std::endl;
  fine(rmw_serialized_message_fini(&message), "end");
  fine(rcl_subscription_fini(&subscription, &node), "end");
}

}  // namespace

int main(int argument_count, char ** arguments)
{
  try {
    if (argument_count != 4) {throw std::runtime_error("give publish KEY COUNT, or verify PUBLIC COUNT");}
    rcl_init_options_t options = rcl_get_zero_initialized_init_options();
    fine(rcl_init_options_init(&options, rcl_get_default_allocator()), "options");
    rcl_context_t context = rcl_get_zero_initialized_context();
    fine(rcl_init(0, nullptr, &options, &context), "init");
    rcl_node_t node = rcl_get_zero_initialized_node();
    const rcl_node_options_t node_options = rcl_node_get_default_options();
    fine(rcl_node_init(&node, "cpp_stage", "", &context, &node_options), "node");
    if (std::string(arguments[1]) == "publish") {
      publish(node, arguments[2], std::stoi(arguments[3]));
    } else {
      std::ifstream file(arguments[2]);
      verify(node, {std::istreambuf_iterator<char>(file), {}}, std::stoull(arguments[3]));
    }
    fine(rcl_node_fini(&node), "end");
    fine(rcl_shutdown(&context), "shutdown");
    fine(rcl_context_fini(&context), "end");
    fine(rcl_init_options_fini(&options), "end");
  } catch (const std::exception & error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
  return 0;
}
