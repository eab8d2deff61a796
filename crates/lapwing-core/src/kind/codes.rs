//! Failure codes that several kinds share. Public and stable: added to, never renamed.

use super::CodeInfo;

/// Codes that several kinds share. `ours.*` are causes of an inconclusive outcome, never of a down.
pub const SHARED_CODES: &[CodeInfo] = &[
    CodeInfo {
        code: "dns.nxdomain",
        doc: "The name does not exist (RFC 1035 RCODE 3).",
    },
    CodeInfo {
        code: "dns.nodata",
        doc: "The name exists but has no address of the wanted family.",
    },
    CodeInfo {
        code: "dns.servfail",
        doc: "The resolver could not get an answer for this name (RFC 1035 RCODE 2).",
    },
    CodeInfo {
        code: "dns.refused",
        doc: "The resolver refused to answer for this name (RFC 1035 RCODE 5).",
    },
    CodeInfo {
        code: "connect.refused",
        doc: "Nothing listens on the port: the peer answered with a reset.",
    },
    CodeInfo {
        code: "connect.reset",
        doc: "The peer, or something on the way, reset the connection.",
    },
    CodeInfo {
        code: "connect.unreachable",
        doc: "A router or the neighbour discovery reported the host or network unreachable.",
    },
    CodeInfo {
        code: "connect.closed",
        doc: "The peer closed the connection before the check was complete.",
    },
    CodeInfo {
        code: "timeout.resolve",
        doc: "The deadline passed while the name was resolved and a resolver had answered before.",
    },
    CodeInfo {
        code: "timeout.connect",
        doc: "The deadline passed before the connection was established.",
    },
    CodeInfo {
        code: "timeout.tls",
        doc: "The deadline passed during the TLS handshake.",
    },
    CodeInfo {
        code: "timeout.first_byte",
        doc: "The deadline passed before the first byte of the answer.",
    },
    CodeInfo {
        code: "timeout.transfer",
        doc: "The deadline passed while the answer was read.",
    },
    CodeInfo {
        code: "timeout.answer",
        doc: "No answer to the datagram or request before the deadline.",
    },
    CodeInfo {
        code: "tls.expired",
        doc: "The certificate is past its end of validity.",
    },
    CodeInfo {
        code: "tls.not_yet_valid",
        doc: "The certificate's validity has not begun.",
    },
    CodeInfo {
        code: "tls.expiring",
        doc: "The certificate expires within `expires_within` (degraded, not down).",
    },
    CodeInfo {
        code: "tls.name",
        doc: "The certificate is not for this name.",
    },
    CodeInfo {
        code: "tls.untrusted",
        doc: "No trusted authority vouches for the certificate.",
    },
    CodeInfo {
        code: "tls.revoked",
        doc: "The certificate is revoked.",
    },
    CodeInfo {
        code: "tls.alert",
        doc: "The peer ended the TLS handshake with an alert.",
    },
    CodeInfo {
        code: "tls.protocol",
        doc: "The peer does not speak TLS, or no version or cipher of ours.",
    },
    CodeInfo {
        code: "tls.certificate",
        doc: "The certificate is malformed or not acceptable for another reason.",
    },
    CodeInfo {
        code: "ours.descriptors",
        doc: "This process or machine has no file descriptor left.",
    },
    CodeInfo {
        code: "ours.buffers",
        doc: "The kernel has no buffer or memory left for the packet.",
    },
    CodeInfo {
        code: "ours.no_route",
        doc: "This machine has no route to the address: nothing was sent.",
    },
    CodeInfo {
        code: "ours.no_address",
        doc: "This machine has no usable source address or port: nothing was sent.",
    },
    CodeInfo {
        code: "ours.permission",
        doc: "This process may not open the socket or send the packet.",
    },
    CodeInfo {
        code: "ours.resolver",
        doc: "None of the configured resolvers answered.",
    },
    CodeInfo {
        code: "ours.source",
        doc: "The configured `source` is not usable on this machine.",
    },
    CodeInfo {
        code: "ours.panic",
        doc: "The probe failed by a defect of Lapwing; please report it.",
    },
    CodeInfo {
        code: "ours.overload",
        doc: "This process was too busy to judge the answer's time.",
    },
    CodeInfo {
        code: "ours.other",
        doc: "Another error of this machine; the detail holds its text.",
    },
];
