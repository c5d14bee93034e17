// ES256 beyond what OpenSSL 3.0 offers: deterministic nonces (RFC 6979), and one form of a signature (low s).
#ifndef OG_ROS__DETAIL__P256_HPP_
#define OG_ROS__DETAIL__P256_HPP_

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <memory>

#include "og_ros/detail/bytes.hpp"

namespace og_ros
{
namespace detail
{

/// Order of P-256, and its half, big-endian.
constexpr Digest kP256Order = {
  0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
  0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};
constexpr Digest kP256HalfOrder = {
  0x7F, 0xFF, 0xFF, 0xFF, 0x80, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
  0xDE, 0x73, 0x7D, 0x56, 0xD3, 0x8B, 0xCF, 0x42, 0x79, 0xDC, 0xE5, 0x61, 0x7E, 0x31, 0x92, 0xA8};

template<typename T, void (* Free)(T *)>
struct Freed
{
  void operator()(T * held) const {Free(held);}
};
using BigNumber = std::unique_ptr<BIGNUM, Freed<BIGNUM, BN_clear_free>>;
using BigContext = std::unique_ptr<BN_CTX, Freed<BN_CTX, BN_CTX_free>>;
using Montgomery = std::unique_ptr<BN_MONT_CTX, Freed<BN_MONT_CTX, BN_MONT_CTX_free>>;
using Group = std::unique_ptr<EC_GROUP, Freed<EC_GROUP, EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Freed<EC_POINT, EC_POINT_clear_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG, ECDSA_SIG_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;

inline void require(bool fine)
{
  if (!fine) {throw Error(Reason::library, "OpenSSL cannot sign");}
}

/// Bytes that are wiped when they go.
struct Secret
{
  Secret() = default;
  Secret(const Secret &) = delete;
  Secret & operator=(const Secret &) = delete;
  ~Secret() {OPENSSL_cleanse(bytes.data(), bytes.size());}
  Digest bytes{};
};

/// The HMAC-DRBG of RFC 6979 section 3.2, for P-256 with SHA-256: nonces for one key and one digest, in order.
class NonceSource
{
public:
  NonceSource(const Secret & private_key, const Digest & reduced)
  {
    value_.bytes.fill(0x01);
    for (const std::uint8_t step : {std::uint8_t{0}, std::uint8_t{1}}) {
      std::array<std::uint8_t, 97> input{};
      auto at = std::copy(value_.bytes.begin(), value_.bytes.end(), input.begin());
      *at++ = step;
      at = std::copy(private_key.bytes.begin(), private_key.bytes.end(), at);
      std::copy(reduced.begin(), reduced.end(), at);
      mac(View(input), key_.bytes);
      OPENSSL_cleanse(input.data(), input.size());
      mac(value_.bytes, value_.bytes);
    }
  }

  /// The next nonce from 1 to the order less 1.
  void next(Secret & nonce)
  {
    for (;; ) {
      if (used_) {
        std::array<std::uint8_t, 33> input{};
        std::copy(value_.bytes.begin(), value_.bytes.end(), input.begin());
        mac(View(input), key_.bytes);
        OPENSSL_cleanse(input.data(), input.size());
        mac(value_.bytes, value_.bytes);
      }
      used_ = true;
      mac(value_.bytes, value_.bytes);
      if (!all_zero(value_.bytes) && value_.bytes < kP256Order) {
        nonce.bytes = value_.bytes;
        return;
      }
    }
  }

private:
  void mac(View input, Digest & target)
  {
    Secret made;
    unsigned int size = 0;
    require(
      HMAC(EVP_sha256(), key_.bytes.data(), 32, input.data(), input.size(), made.bytes.data(), &size) != nullptr);
    target = made.bytes;
  }

  Secret key_;
  Secret value_;
  bool used_ = false;
};

// OpenSSL has deterministic nonces from 3.2 on; Ubuntu 24.04 has 3.0. There the one way to give it a nonce is
// ECDSA_do_sign_ex, which 3.0 calls deprecated and still blinds as its own signing does.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/// The signature r || s of a message's SHA-256, with low s.
inline Bytes sign_es256(EVP_PKEY * key, const Secret & private_key, View message)
{
  const Digest digest = sha256(message);
  const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const BigContext context(BN_CTX_secure_new());
  require(group && context);
  const BIGNUM * order = EC_GROUP_get0_order(group.get());
  const BigNumber z(BN_bin2bn(digest.data(), 32, nullptr));
  const BigNumber reduced(BN_new());
  Digest reduced_bytes{};
  require(z && reduced && BN_nnmod(reduced.get(), z.get(), order, context.get()));
  require(BN_bn2binpad(reduced.get(), reduced_bytes.data(), 32) == 32);
  const EC_KEY * ec_key = EVP_PKEY_get0_EC_KEY(key);
  const Montgomery montgomery(BN_MONT_CTX_new());
  const BigNumber exponent(BN_dup(order));
  require(ec_key && montgomery && exponent && BN_MONT_CTX_set(montgomery.get(), order, context.get()));
  require(BN_sub_word(exponent.get(), 2));

  NonceSource nonces(private_key, reduced_bytes);
  for (;; ) {
    Secret nonce;
    nonces.next(nonce);
    const BigNumber k(BN_bin2bn(nonce.bytes.data(), 32, BN_secure_new()));
    const BigNumber inverse(BN_secure_new());
    const BigNumber r(BN_new());
    const Point point(EC_POINT_new(group.get()));
    require(k && inverse && r && point);
    BN_set_flags(k.get(), BN_FLG_CONSTTIME);
    require(EC_POINT_mul(group.get(), point.get(), k.get(), nullptr, nullptr, context.get()));
    require(EC_POINT_get_affine_coordinates(group.get(), point.get(), r.get(), nullptr, context.get()));
    require(BN_nnmod(r.get(), r.get(), order, context.get()));
    // By Fermat, for the order is a prime: k^(order - 2), in constant time.
    require(
      BN_mod_exp_mont_consttime(inverse.get(), k.get(), exponent.get(), order, context.get(), montgomery.get()));
    if (BN_is_zero(r.get())) {continue;}
    const EcdsaSignature made(
      ECDSA_do_sign_ex(digest.data(), 32, inverse.get(), r.get(), const_cast<EC_KEY *>(ec_key)));
    if (!made) {throw Error(Reason::library, "OpenSSL cannot sign");}
    const BigNumber low(BN_dup(ECDSA_SIG_get0_s(made.get())));
    const BigNumber half(BN_bin2bn(kP256HalfOrder.data(), 32, nullptr));
    require(low && half);
    if (BN_cmp(low.get(), half.get()) > 0) {require(BN_sub(low.get(), order, low.get()));}
    Bytes signature(64);
    require(BN_bn2binpad(ECDSA_SIG_get0_r(made.get()), signature.data(), 32) == 32);
    require(BN_bn2binpad(low.get(), signature.data() + 32, 32) == 32);
    return signature;
  }
}

#pragma GCC diagnostic pop

/// Throw unless r and s are in range and s is low; the signature has 64 bytes.
inline void check_es256_form(View signature)
{
  Digest r{}, s{};
  std::copy(signature.begin(), signature.begin() + 32, r.begin());
  std::copy(signature.begin() + 32, signature.end(), s.begin());
  if (all_zero(r) || all_zero(s) || r >= kP256Order || s >= kP256Order) {
    throw Error(Reason::signature_form, "the signature's numbers are out of range");
  }
  if (s > kP256HalfOrder) {
    throw Error(
            Reason::signature_form,
            "the signature is not in low-S form, so its record could be made to look like another");
  }
}

/// A signature r || s in the DER form that OpenSSL verifies.
inline Bytes der_of(View signature)
{
  const EcdsaSignature made(ECDSA_SIG_new());
  BigNumber r(BN_bin2bn(signature.data(), 32, nullptr));
  BigNumber s(BN_bin2bn(signature.data() + 32, 32, nullptr));
  if (!made || !r || !s || ECDSA_SIG_set0(made.get(), r.get(), s.get()) != 1) {
    throw Error(Reason::library, "OpenSSL cannot read the signature");
  }
  (void)r.release();  // they are the signature's now
  (void)s.release();
  const int size = i2d_ECDSA_SIG(made.get(), nullptr);
  Bytes der(size > 0 ? static_cast<std::size_t>(size) : 0);
  std::uint8_t * at = der.data();
  if (size <= 0 || i2d_ECDSA_SIG(made.get(), &at) != size) {
    throw Error(Reason::library, "OpenSSL cannot write the signature");
  }
  return der;
}

}  // namespace detail
}  // namespace og_ros

#endif  // OG_ROS__DETAIL__P256_HPP_
