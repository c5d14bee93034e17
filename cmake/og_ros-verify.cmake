# Makes og_ros::verify, the header-only C++17 verifier and attestor, where OpenSSL 3 is to be had; it needs no ROS.
#
# Included from og_rosConfig.cmake by whoever calls find_package(og_ros). Who wants only messages needs no OpenSSL.
if(NOT TARGET og_ros::verify)
  find_package(OpenSSL 3 QUIET COMPONENTS Crypto)
  find_package(Threads QUIET)
  if(OPENSSL_FOUND AND Threads_FOUND)
    get_filename_component(_og_ros_include "${CMAKE_CURRENT_LIST_DIR}/../../../include/og_ros" ABSOLUTE)
    add_library(og_ros::verify INTERFACE IMPORTED)
    set_target_properties(og_ros::verify PROPERTIES
      INTERFACE_COMPILE_FEATURES cxx_std_17
      INTERFACE_INCLUDE_DIRECTORIES "${_og_ros_include}"
      INTERFACE_LINK_LIBRARIES "OpenSSL::Crypto;Threads::Threads")
    unset(_og_ros_include)
  else()
    message(STATUS "og_ros: no headers of OpenSSL 3, so no target og_ros::verify (apt-get install libssl-dev)")
  endif()
endif()
