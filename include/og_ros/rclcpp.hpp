// Attests an rclcpp node's outputs: publishes each output as serialised bytes, then its attestation beside it.
//
// Never run live: rclcpp is not on PyPI, where this project's tests get ROS from. The tests compile this file against
// the declarations that it uses, and run the same queue in a real node on rcl (test/cpp/rcl_node.cpp).
//
//   og_ros::NodeAttestor attestor(node, producer, og_ros::PrivateKey::load("keys/planner.pem"),
//     "/cmd_vel", "geometry_msgs/msg/Twist", 10);
//   subscription = node.create_generic_subscription("/scan", "sensor_msgs/msg/LaserScan", rclcpp::SensorDataQoS(),
//     [&](std::shared_ptr<rclcpp::SerializedMessage> scan) {
//       auto inference = attestor.begin({og_ros::input("/scan", "sensor_msgs/msg/LaserScan", *scan)});
//       attestor.publish(std::move(inference), plan(*scan));
//     });
#ifndef OG_ROS__RCLCPP_HPP_
#define OG_ROS__RCLCPP_HPP_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "og_ros/attest.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp/serialization.hpp"
#include "rclcpp/serialized_message.hpp"

namespace og_ros
{

/// The bytes of a serialised message, as long as it lives.
inline View bytes_of(const rclcpp::SerializedMessage & message)
{
  const auto & held = message.get_rcl_serialized_message();
  return View(held.buffer, held.buffer_length);
}

/// Name a message that a node got, by its bytes as they arrived; see `reference_to`.
inline DataReference input(
  std::string topic, std::string type, const rclcpp::SerializedMessage & message, std::uint64_t stamp = 0,
  Bytes attestation = {})
{
  return reference_to(std::move(topic), std::move(type), bytes_of(message), stamp, std::move(attestation));
}

/// Publishes a node's output and, from a thread of its own, the attestation of each on `<topic>/attestation`.
class NodeAttestor
{
public:
  /// `producer.node` may be left empty: it is the node's fully qualified name then.
  NodeAttestor(
    rclcpp::Node & node, Producer producer, PrivateKey key, const std::string & topic, const std::string & type,
    const rclcpp::QoS & qos)
  : clock_(node.get_clock()), type_(type), output_(node.create_generic_publisher(topic, type, qos)),
    attestations_(
      node.create_generic_publisher(
        std::string(output_->get_topic_name()) + "/attestation", kAttestationType, rclcpp::QoS(1000).reliable())),
    queue_(
      Attestor(named(std::move(producer), node), std::move(key)),
      [this](const Attestation &, const Bytes & serialised) {send(serialised);},
      [logger = node.get_logger()](const std::string & why) {
        RCLCPP_ERROR(logger, "an output was published without its attestation: %s", why.c_str());
      })
  {}

  /// Begin an inference, with its last input at hand.
  Inference begin(std::vector<DataReference> inputs) const
  {
    Inference inference;
    inference.began = std::chrono::steady_clock::now();
    inference.inputs = std::move(inputs);
    inference.start = static_cast<std::uint64_t>(clock_->now().nanoseconds());
    inference.clock = clock_->ros_time_is_active() ? Clock::sim : Clock::system;
    return inference;
  }

  /// Publish a serialised output, and queue its attestation; `stamp` is its header.stamp in ns, 0 without a header.
  void publish(Inference inference, const rclcpp::SerializedMessage & output, std::uint64_t stamp = 0)
  {
    output_->publish(output);
    inference.duration = std::chrono::steady_clock::now() - inference.began;
    inference.outputs.push_back(reference_to(output_->get_topic_name(), type_, bytes_of(output), stamp));
    queue_.push(std::move(inference));
  }

  /// Serialise an output once, and publish those bytes.
  template<typename MessageT>
  void publish(Inference inference, const MessageT & output, std::uint64_t stamp = 0)
  {
    rclcpp::SerializedMessage serialised;
    rclcpp::Serialization<MessageT>().serialize_message(&output, &serialised);
    publish(std::move(inference), serialised, stamp);
  }

  /// Sign and publish what is due; call it before rclcpp::shutdown().
  void close() {queue_.close();}

private:
  static Producer named(Producer producer, const rclcpp::Node & node)
  {
    if (producer.node.empty()) {producer.node = node.get_fully_qualified_name();}
    return producer;
  }

  void send(const Bytes & serialised)
  {
    rclcpp::SerializedMessage message(serialised.size());
    auto & held = message.get_rcl_serialized_message();
    std::copy(serialised.begin(), serialised.end(), held.buffer);
    held.buffer_length = serialised.size();
    attestations_->publish(message);
  }

  rclcpp::Clock::SharedPtr clock_;
  std::string type_;
  rclcpp::GenericPublisher::SharedPtr output_;
  rclcpp::GenericPublisher::SharedPtr attestations_;
  SigningQueue queue_;  // last: its thread publishes
};

}  // namespace og_ros

#endif  // OG_ROS__RCLCPP_HPP_
