// Public keys that verify, and private keys that sign: P-256 (ES256) and Ed25519 (EdDSA), from PEM.
#ifndef OG_ROS__KEYS_HPP_
#define OG_ROS__KEYS_HPP_

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "og_ros/cose.hpp"
#include "og_ros/detail/p256.hpp"

namespace og_ros
{
namespace detail
{

using Bio = std::unique_ptr<BIO, Freed<BIO, BIO_free_all>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX, EVP_MD_CTX_free>>;
constexpr std::size_t kMaxKeyFile = 16'384;

inline Algorithm algorithm_of(const EVP_PKEY * key)
{
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) {return Algorithm::eddsa;}
  char group[64] = {};
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
    EVP_PKEY_get_group_name(key, group, sizeof(group), nullptr) == 1 && std::strcmp(group, SN_X9_62_prime256v1) == 0)
  {
    return Algorithm::es256;
  }
  throw Error(Reason::key_file, "the key is neither on P-256 (ES256) nor Ed25519 (EdDSA)");
}

inline Digest ed25519_point(const EVP_PKEY * key)
{
  Digest point{};
  std::size_t size = point.size();
  if (EVP_PKEY_get_raw_public_key(key, point.data(), &size) != 1 || size != point.size()) {
    throw Error(Reason::key_file, "the Ed25519 key has no public half");
  }
  return point;
}

/// Whether an Ed25519 point's order divides 8, in any encoding (as in libsodium's ge25519_has_small_order).
inline bool has_small_order(Digest point)
{
  static const char * const points[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
  point[31] &= 0x7F;
  const std::string text = hex(point);
  return std::any_of(std::begin(points), std::end(points), [&](const char * bad) {return text == bad;});
}

/// SubjectPublicKeyInfo (DER) in its one form: named curve, uncompressed point.
inline Bytes spki_of(const EVP_PKEY * key)
{
  static const std::uint8_t ed25519[] = {0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0};
  static const std::uint8_t p256[] = {
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1, 6, 8,
    0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7, 3, 0x42, 0, 4};
  if (algorithm_of(key) == Algorithm::eddsa) {
    Bytes spki(std::begin(ed25519), std::end(ed25519));
    append(spki, ed25519_point(key));
    return spki;
  }
  Bytes spki(std::begin(p256), std::end(p256));
  for (const char * name : {OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y}) {
    BIGNUM * found = nullptr;
    Digest coordinate{};
    const bool fine = EVP_PKEY_get_bn_param(key, name, &found) == 1 && BN_bn2binpad(found, coordinate.data(), 32) == 32;
    const BigNumber held(found);
    if (!fine) {throw Error(Reason::key_file, "the P-256 key has no public half");}
    append(spki, coordinate);
  }
  return spki;
}

inline int no_password(char *, int, int, void *) {return 0;}

/// Read a small regular file that nobody but its owner can read or write.
inline std::string read_owner_only(const std::string & path)
{
  struct File
  {
    int descriptor;
    ~File() {if (descriptor >= 0) {close(descriptor);}}
  } file{open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  struct stat status {};
  if (file.descriptor < 0 || fstat(file.descriptor, &status) != 0) {
    throw Error(Reason::key_file, "cannot read the key " + path + ": " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {throw Error(Reason::key_file, path + " is not a regular file");}
  if (status.st_mode & 077) {
    throw Error(Reason::key_file, "others can read or change the key " + path + ": chmod 600 it");
  }
  if (status.st_uid != 0 && status.st_uid != geteuid()) {
    throw Error(Reason::key_file, path + " belongs to another user than the one that signs with it");
  }
  std::string text(kMaxKeyFile, '\0');
  const ssize_t size = read(file.descriptor, &text[0], text.size());
  if (size < 0) {throw Error(Reason::key_file, "cannot read the key " + path + ": " + std::strerror(errno));}
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace detail

/// A key that attestations are checked with.
class PublicKey
{
public:
  /// Read PEM text; throws Error(key_file) for any key but one on P-256 or a sound one of Ed25519.
  explicit PublicKey(std::string_view pem)
  {
    if (pem.size() > detail::kMaxKeyFile) {throw Error(Reason::key_file, "a public key in PEM is not that long");}
    const detail::Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) {throw Error(Reason::library, "OpenSSL cannot read a key");}
    key_.reset(PEM_read_bio_PUBKEY(bio.get(), nullptr, &detail::no_password, nullptr));
    ERR_clear_error();
    if (!key_) {throw Error(Reason::key_file, "the public key is no public key in PEM");}
    settle();
  }

  explicit PublicKey(detail::Key key)
  : key_(std::move(key)) {settle();}

  /// SHA-256 of the key's SubjectPublicKeyInfo (DER), as attestations name it.
  const Digest & id() const {return id_;}
  Algorithm algorithm() const {return algorithm_;}

  /// Check a 64-byte signature of a message; throws Error when it does not hold.
  void verify_signature(View message, View signature) const
  {
    if (signature.size() != kSignatureSize) {
      throw Error(
              Reason::signature_form,
              "the signature is " + std::to_string(signature.size()) + " bytes long; it must be 64");
    }
    const bool es256 = algorithm_ == Algorithm::es256;
    if (es256) {detail::check_es256_form(signature);}
    const Bytes given = es256 ? detail::der_of(signature) : signature.copy();
    const detail::MdContext context(EVP_MD_CTX_new());
    const EVP_MD * hash = es256 ? EVP_sha256() : nullptr;
    if (!context || EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key_.get()) != 1) {
      throw Error(Reason::library, "OpenSSL cannot verify with this key");
    }
    const int holds =
      EVP_DigestVerify(context.get(), given.data(), given.size(), message.data(), message.size());
    ERR_clear_error();
    if (holds != 1) {throw Error(Reason::signature, "the signature does not match the statement");}
  }

private:
  void settle()
  {
    algorithm_ = detail::algorithm_of(key_.get());
    if (algorithm_ == Algorithm::eddsa && detail::has_small_order(detail::ed25519_point(key_.get()))) {
      throw Error(Reason::key_file, "the Ed25519 key is a point of small order, whose signatures anybody can make");
    }
    id_ = detail::sha256(detail::spki_of(key_.get()));
  }

  detail::Key key_;
  Algorithm algorithm_ = Algorithm::es256;
  Digest id_{};
};

/// A private key in this process's memory. ES256 nonces are deterministic (RFC 6979) and s is low.
class PrivateKey
{
public:
  /// Read unencrypted PKCS#8 PEM text; throws Error(key_file).
  static PrivateKey parse(std::string_view pem)
  {
    const detail::Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) {throw Error(Reason::library, "OpenSSL cannot read a key");}
    detail::Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &detail::no_password, nullptr));
    ERR_clear_error();
    if (!key) {throw Error(Reason::key_file, "the key file holds no private key in unencrypted PEM");}
    return PrivateKey(std::move(key));
  }

  /// Read a PEM file that only its owner may read; throws Error(key_file) as og-ros does.
  static PrivateKey load(const std::string & path)
  {
    std::string text = detail::read_owner_only(path);
    struct Wipe
    {
      std::string & text;
      ~Wipe() {OPENSSL_cleanse(&text[0], text.size());}
    } wipe{text};
    return parse(text);
  }

  const Digest & id() const {return id_;}
  Algorithm algorithm() const {return algorithm_;}

  /// The 64-byte signature of a message: r || s for ES256 (RFC 9053 section 2.1), R || S for EdDSA.
  Bytes sign(View message) const
  {
    if (algorithm_ == Algorithm::es256) {return detail::sign_es256(key_.get(), *secret_, message);}
    const detail::MdContext context(EVP_MD_CTX_new());
    Bytes signature(kSignatureSize);
    std::size_t size = signature.size();
    detail::require(context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
    detail::require(EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1);
    detail::require(size == kSignatureSize);
    return signature;
  }

private:
  explicit PrivateKey(detail::Key key)
  : key_(std::move(key)), algorithm_(detail::algorithm_of(key_.get())), id_(detail::sha256(detail::spki_of(key_.get())))
  {
    if (algorithm_ != Algorithm::es256) {return;}
    BIGNUM * found = nullptr;
    const bool fine = EVP_PKEY_get_bn_param(key_.get(), OSSL_PKEY_PARAM_PRIV_KEY, &found) == 1;
    const detail::BigNumber held(found);
    secret_ = std::make_unique<detail::Secret>();
    if (!fine || BN_bn2binpad(found, secret_->bytes.data(), 32) != 32) {
      throw Error(Reason::key_file, "the P-256 key has no private half");
    }
  }

  detail::Key key_;
  Algorithm algorithm_;
  Digest id_;
  std::unique_ptr<detail::Secret> secret_;
};

/// Check an attestation against the key that it must have been signed with; whether that key is certified is the
/// registry's word. Throws Error when the statement names another key or algorithm, or the signature does not hold.
inline void verify(const Attestation & attestation, const PublicKey & key)
{
  if (attestation.statement.key_id != key.id()) {throw Error(Reason::key, "the attestation names another key");}
  if (attestation.statement.algorithm != key.algorithm()) {
    throw Error(Reason::algorithm, "the attestation says another algorithm than the key's");
  }
  key.verify_signature(attestation.signed_bytes, attestation.signature);
}

/// Sign a statement; throws Error when it names another key or algorithm than the signer's, or is out of bounds.
inline Attestation sign(Statement statement, const PrivateKey & key)
{
  if (statement.key_id != key.id() || statement.algorithm != key.algorithm()) {
    throw Error(Reason::key, "the statement names another key than the signer's");
  }
  const Bytes message =
    detail::to_be_signed(detail::protected_header(statement), detail::encode_statement(statement));
  return seal(std::move(statement), key.sign(message));
}

}  // namespace og_ros

#endif  // OG_ROS__KEYS_HPP_
