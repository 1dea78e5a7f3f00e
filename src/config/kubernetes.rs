//! Recognises the variables Kubernetes sets in every pod for every service.
//! A service called `registry` makes `REGISTRY_PORT=tcp://…`, which is nobody's configuration.

/// Returns whether a variable has one of the forms `…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT=tcp://…` and
/// `…_PORT_n_TCP|UDP|SCTP[_PROTO|_PORT|_ADDR]`.
pub(super) fn is_service_variable(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
    {
        return true;
    }
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    if name.ends_with("_PORT") && is_address {
        return true;
    }
    let parts: Vec<&str> = name.split('_').collect();
    let of_port = |parts: &[&str]| match parts {
        [.., "PORT", number, "TCP" | "UDP" | "SCTP"] => {
            !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    match parts.as_slice() {
        [rest @ .., "PROTO" | "PORT" | "ADDR"] => of_port(rest),
        all => of_port(all),
    }
}

#[cfg(test)]
mod tests {
    use super::is_service_variable;

    #[test]
    fn service_variables_are_recognised() {
        for (name, value) in [
            ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_SERVICE_PORT", "5000"),
            ("REGISTRY_SERVICE_PORT_HTTP", "5000"),
            ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
            ("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("REGISTRY_PORT_5000_TCP_PROTO", "tcp"),
            ("REGISTRY_PORT_5000_TCP_PORT", "5000"),
            ("REGISTRY_PROXY_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("REGISTRY_HTTP_HEADERS_SERVICE_HOST", "10.0.0.1"),
        ] {
            assert!(is_service_variable(name, value), "{name}");
        }
    }

    #[test]
    fn configuration_is_not_mistaken_for_a_service() {
        for (name, value) in [
            ("REGISTRY_HTTP_ADDR", ":5000"),
            ("REGISTRY_PORT", "5000"),
            ("REGISTRY_LOG_FIELDS_SERVICE", "registry"),
            ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c"),
        ] {
            assert!(!is_service_variable(name, value), "{name}");
        }
    }
}
