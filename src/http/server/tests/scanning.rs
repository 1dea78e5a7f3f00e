//! The scanner alone, at every position where a stream can be cut in two.

use crate::http::server::head_scan::{HeadScan, Phase, Verdict};

/// What the whole stream comes to: the index refused, or the phase at the end. Asserts that it is
/// the same for every cut and for single bytes.
fn scan(stream: &[u8]) -> Result<Phase, usize> {
    let whole = scan_runs(stream, stream.len());
    for cut in 1..stream.len() {
        assert_eq!(scan_runs(stream, cut), whole, "cut at {cut} of {stream:?}");
    }
    assert_eq!(scan_bytes(stream), whole, "byte by byte: {stream:?}");
    whole
}

fn scan_runs(stream: &[u8], cut: usize) -> Result<Phase, usize> {
    let mut scan = HeadScan::new();
    let mut stream = stream.to_vec();
    let (first, second) = stream.split_at_mut(cut);
    if let Verdict::Refuse(at) = scan.scan(first) {
        return Err(at);
    }
    match scan.scan(second) {
        Verdict::Refuse(at) => Err(cut + at),
        Verdict::Fine => Ok(scan.phase()),
    }
}

fn scan_bytes(stream: &[u8]) -> Result<Phase, usize> {
    let mut scan = HeadScan::new();
    for (at, byte) in stream.iter().enumerate() {
        if scan.scan(&mut [*byte]) != Verdict::Fine {
            return Err(at);
        }
    }
    Ok(scan.phase())
}

fn head(fields: &str) -> String {
    format!("PUT / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

#[test]
fn phases_follow_a_request_from_its_first_byte_to_its_last() {
    assert_eq!(scan(b""), Ok(Phase::Idle));
    assert_eq!(scan(b"\r\n\n\r\n"), Ok(Phase::Idle));
    assert_eq!(scan(b"\r\nG"), Ok(Phase::Head));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(Phase::Head));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Phase::Idle));
    assert_eq!(scan(b"GET / HTTP/1.1\nHost: a\n\n"), Ok(Phase::Idle));
    assert_eq!(
        scan(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"),
        Ok(Phase::Body)
    );
    assert_eq!(
        scan(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"),
        Ok(Phase::Body)
    );
    assert_eq!(
        scan(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
        Ok(Phase::Idle)
    );
    assert_eq!(
        scan(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcG"),
        Ok(Phase::Head)
    );
    assert_eq!(
        scan(b"PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n"),
        Ok(Phase::Idle)
    );
}

#[test]
fn chunked_bodies_end_where_hyper_ends_them() {
    let head = head("Transfer-Encoding: chunked");
    for (body, phase) in [
        ("", Phase::Body),
        ("3\r\nabc\r\n", Phase::Body),
        ("0\r\n", Phase::Body),
        ("0\r\n\r\n", Phase::Idle),
        ("3\r\nabc\r\n0\r\n\r\n", Phase::Idle),
        ("a;x=\"y\" \r\n0123456789\r\n000\r\n\r\nG", Phase::Head),
        (
            "A \t;\r\n0123456789\r\n0\r\nTrailer: 1\r\nOther: 2\r\n\r\n",
            Phase::Idle,
        ),
        ("0\r\nGET / HTTP/1.1\r\n", Phase::Body),
        ("x\r\n", Phase::Body),
        ("3\nabc\n0\n\n", Phase::Body),
        ("ffffffffffffffffff\r\n", Phase::Body),
    ] {
        assert_eq!(
            scan(format!("{head}{body}").as_bytes()),
            Ok(phase),
            "{body:?}"
        );
    }
}

#[test]
fn transfer_encoding_counts_when_both_are_there() {
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 50",
        "Content-Length: 50\r\nTransfer-Encoding:\t ChunkeD \t",
    ] {
        let stream = format!("{}1\r\na\r\n0\r\n\r\n", head(fields));
        assert_eq!(scan(stream.as_bytes()), Ok(Phase::Idle), "{fields:?}");
    }
}

#[test]
fn lengths_are_digits_between_spaces_once() {
    for length in ["5", " 5", " \t5\t ", "00005"] {
        let stream = format!("{}1234", head(&format!("Content-Length:{length}")));
        assert_eq!(scan(stream.as_bytes()), Ok(Phase::Body), "{length:?}");
        assert_eq!(
            scan(format!("{stream}5").as_bytes()),
            Ok(Phase::Idle),
            "{length:?}"
        );
    }
    for length in [
        "",
        " ",
        "+5",
        "-5",
        "5,5",
        "5, 5",
        "5 5",
        "0x5",
        "5a",
        "18446744073709551614",
        "18446744073709551615",
        "18446744073709551616",
        "00018446744073709551615",
        "184467440737095516130",
    ] {
        let stream = head(&format!("Content-Length:{length}"));
        assert!(scan(stream.as_bytes()).is_err(), "{length:?}");
    }
    let largest = head("Content-Length: 18446744073709551613");
    assert_eq!(scan(largest.as_bytes()), Ok(Phase::Body));
    assert!(scan(head("Content-Length: 5\r\nX: y\r\ncontent-length: 5").as_bytes()).is_err());
    assert!(scan(head("Content-Length: 5\r\nContent-Length: 6").as_bytes()).is_err());
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for host in [
        "a",
        "registry.example:5000",
        "registry.example:",
        "\t a_b-c~.example:80 \t",
        "192.0.2.1:5000",
        "[::1]",
        "[2001:db8::192.0.2.1]:5000",
        "[fe80::1%25eth0]:5000",
        "b%C3%BCro.example",
        "!$&'()*+,;=",
        "",
        " \t",
    ] {
        let stream = format!("GET /v2/ HTTP/1.1\r\nHost:{host}\r\n\r\n");
        assert_eq!(scan(stream.as_bytes()), Ok(Phase::Idle), "{host:?}");
    }
    for host in [
        ":5000", "a b", "a, b", "a:b", "a:80:90", "a:-1", "user@a", "a/b", "a?b", "a#b", "a\\b",
        "<a>", "\"a\"", "http://a", "::1", "[::1", "::1]", "[::1]a", "a[::1]", "[::1 ]", "b\u{fc}",
        "a\0", "a\u{7f}",
    ] {
        for version in ["1.1", "1.0"] {
            let stream = format!("GET /v2/ HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert!(scan(stream.as_bytes()).is_err(), "{version}: {host:?}");
        }
    }
}

#[test]
fn an_empty_host_goes_only_with_a_target_without_authority() {
    for (target, is_fine) in [
        ("GET /", true),
        ("GET //a/b", true),
        ("OPTIONS *", true),
        ("GET http://a/", false),
        ("CONNECT a:80", false),
    ] {
        let stream = format!("{target} HTTP/1.1\r\nHost: \r\n\r\n");
        assert_eq!(scan(stream.as_bytes()).is_ok(), is_fine, "{target:?}");
        let stream = format!("{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(scan(stream.as_bytes()), Ok(Phase::Idle), "{target:?}");
    }
}

#[test]
fn what_is_known_of_one_host_is_forgotten_in_the_next_head() {
    let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!("{first}{first}");
    assert_eq!(scan(both.as_bytes()), Ok(Phase::Idle));
    let without = format!("{first}GET / HTTP/1.1\r\n\r\n");
    assert_eq!(scan(without.as_bytes()), Err(without.len() - 1));
    let older = format!("{first}GET / HTTP/1.0\r\n\r\n");
    assert_eq!(scan(older.as_bytes()), Ok(Phase::Idle));
}

#[test]
fn only_exactly_chunked_is_a_transfer_coding() {
    for coding in [
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
        "chunkedx",
        "chunk",
        "",
        "identity",
    ] {
        let stream = head(&format!("Transfer-Encoding: {coding}"));
        assert!(scan(stream.as_bytes()).is_err(), "{coding:?}");
    }
    let twice = head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked");
    assert!(scan(twice.as_bytes()).is_err());
    assert!(scan(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn a_refusal_names_the_byte_that_completes_the_offence() {
    assert_eq!(scan(b"GET / HTTP/1.1\r\n folded\r\n\r\n"), Err(16));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"), Err(22));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nA : b\r\n\r\n"), Err(17));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n"), Err(21));
    assert_eq!(scan(b"GET /\r HTTP/1.1\r\n\r\n"), Err(6));
    assert_eq!(scan(b"\rGET / HTTP/1.1\r\n\r\n"), Err(1));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), Err(24));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a"), Err(29));
    assert_eq!(scan(b"GET / HTTP/1.1\r\nX: y\r\n\r\n"), Err(23));
    assert_eq!(scan(b"GET / HTTP/1.1\n\n"), Err(15));
}

#[test]
fn offences_in_a_second_pipelined_request_are_seen() {
    let first =
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\nContent-Length: 1\r\n folded";
    assert_eq!(scan(first.as_bytes()), Ok(Phase::Idle));
    let both = format!("{first}GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n");
    assert_eq!(scan(both.as_bytes()), Err(first.len() + 41));
}

#[test]
fn fields_with_similar_names_frame_nothing() {
    let fields = "Content-Lengths: 5\r\nContent-Lengt: 5\r\nX-Transfer-Encoding: gzip\r\n\
                  Transfer-Encoding-But-Long: x\r\nTransfer_Encoding: gzip";
    assert_eq!(scan(head(fields).as_bytes()), Ok(Phase::Idle));
}

#[test]
fn only_the_upgrade_field_is_changed_on_its_way() {
    let stream =
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nX-Upgrade: upgrade\r\nUpGrade: upgrade\r\n\r\n";
    let expected =
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nX-Upgrade: upgrade\r\nUpGrad-: upgrade\r\n\r\n";
    let mut seen = stream.to_vec();
    assert_eq!(HeadScan::new().scan(&mut seen), Verdict::Fine);
    assert_eq!(seen, expected);
}
