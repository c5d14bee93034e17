// Declarations of what include/og_ros/rclcpp.hpp uses of rclcpp 28.1 (Jazzy), to check its calls against.
// Nothing is defined here, so nothing can run with it: a program that includes this does not link.
#ifndef RCLCPP__RCLCPP_HPP_
#define RCLCPP__RCLCPP_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#define RCLCPP_ERROR(logger, ...) (static_cast<void>(logger), rclcpp::log(__VA_ARGS__))

struct rcl_serialized_message_s
{
  std::uint8_t * buffer;
  std::size_t buffer_length;
  std::size_t buffer_capacity;
};

namespace rclcpp
{

__attribute__((format(printf, 1, 2))) void log(const char * format, ...);

class Logger {};

class Time
{
public:
  std::int64_t nanoseconds() const;
};

class Clock
{
public:
  using SharedPtr = std::shared_ptr<Clock>;
  Time now() const;
  bool ros_time_is_active();
};

class QoS
{
public:
  QoS(std::size_t history_depth);  // NOLINT(runtime/explicit): as rclcpp has it
  QoS & reliable();
};

class SerializedMessage
{
public:
  SerializedMessage();
  explicit SerializedMessage(std::size_t initial_capacity);
  rcl_serialized_message_s & get_rcl_serialized_message();
  const rcl_serialized_message_s & get_rcl_serialized_message() const;
};

class GenericPublisher
{
public:
  using SharedPtr = std::shared_ptr<GenericPublisher>;
  const char * get_topic_name() const;
  void publish(const SerializedMessage & message);
};

class Node
{
public:
  Clock::SharedPtr get_clock();
  Logger get_logger() const;
  const char * get_fully_qualified_name() const;
  std::shared_ptr<GenericPublisher> create_generic_publisher(
    const std::string & topic_name, const std::string & topic_type, const QoS & qos);
};

template<typename MessageT>
class Serialization
{
public:
  void serialize_message(const void * ros_message, SerializedMessage * serialized_message) const;
};

}  // namespace rclcpp

#endif  // RCLCPP__RCLCPP_HPP_
