//! The provider of TLS.

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;

/// Chooses the program's provider of TLS, unless one is chosen: of several in one program none is the default. To be called
/// before a client is made.
pub fn choose_tls_provider() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread was first.
        let _ = default_provider().install_default();
    }
}
