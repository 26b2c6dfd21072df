// Certificates for mutual TLS: an authority of one's own, and the certificates that it signs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace altlas::collective {

struct CertificateFiles {
  std::string certificate, key;  // PEM; keys have mode 0600.
};

// Seconds from now; a negative one is in the past.
struct Validity {
  int64_t begins = -3600;  // Clocks differ.
  int64_t ends = int64_t{825} * 24 * 3600;
};

// `folder`/ca.pem and ca-key.pem: made, or those that are there. The folder is made where it is
// missing. Errors: kInvalid for a folder or a key that others may write or read, for an authority
// that has expired or whose key is not there; kIo.
Result<CertificateFiles> make_authority(const std::string& folder, const Validity& validity = {});

// `folder`/NAME.pem and NAME-key.pem, signed by the folder's authority. NAME, a host name or an
// address, is who its owner is to the others; "localhost" stands for the loopback addresses too.
// What is there under this name is replaced. Errors: as make_authority; kInvalid for a name that is
// none.
Result<CertificateFiles> make_certificate(const std::string& folder, const std::string& name,
                                          const Validity& validity = {});

}  // namespace altlas::collective
