// A node as a user of include/og_ros/rclcpp.hpp writes it; compiled in the tests, never run: see there.
#include <string>
#include <utility>

#include "og_ros/rclcpp.hpp"

struct Twist {};

void plan(rclcpp::Node & node, const rclcpp::SerializedMessage & scan, const std::string & key)
{
  og_ros::Producer producer;
  producer.robot = "robot-7";
  producer.stage = "planning";
  producer.model.name = "planner";
  og_ros::NodeAttestor attestor(
    node, std::move(producer), og_ros::PrivateKey::load(key), "/cmd_vel", "geometry_msgs/msg/Twist", 10);
  auto inference = attestor.begin({og_ros::input("/scan", "sensor_msgs/msg/LaserScan", scan)});
  attestor.publish(std::move(inference), Twist());
  attestor.publish(attestor.begin({og_ros::input("/scan", "sensor_msgs/msg/LaserScan", scan)}), scan, 12);
  attestor.close();
}
