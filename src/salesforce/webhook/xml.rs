//! A small tree of a small document, read strictly. The one file that names the XML crate.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use crate::error::{Error, Result};

/// SOAP 1.1 with a record in it is seven elements deep.
const DEEPEST: usize = 16;
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// An element.
#[derive(Default)]
pub(super) struct Element {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `xsi:type` without its prefix.
    pub(super) kind: Option<String>,
    /// `xsi:nil="true"`.
    pub(super) nil: bool,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of this name and namespace.
    pub(super) fn child(&self, namespace: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }
}

/// The root element of `body`. Document types and entities of their own are refused: nothing is expanded, nothing is fetched.
pub(super) fn parse(body: &[u8]) -> Result<Element> {
    let text = std::str::from_utf8(body).map_err(|_| Error::decode("the outbound message is not UTF-8"))?;
    let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = reader.buffer_position();
        let broken = |what: &str| Error::decode(format!("the outbound message is not the XML it should be: {what} at byte {at}"));
        let event = reader.read_event().map_err(|_| broken("it does not parse"))?;
        match event {
            Event::Start(start) => {
                if open.len() >= DEEPEST {
                    return Err(broken("elements are nested too deeply"));
                }
                if open.is_empty() && root.is_some() {
                    return Err(broken("a second root"));
                }
                open.push(element(&reader, &start).ok_or_else(|| broken("an element that cannot be read"))?);
            }
            Event::End(_) => {
                let Some(done) = open.pop() else { return Err(broken("an end without a start")) };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
            }
            Event::CData(data) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&data.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => predefined(&reference.xml10_content()).ok_or_else(|| broken("an entity that XML does not define"))?,
                    Err(_) => return Err(broken("a reference to no character")),
                };
                let Some(element) = open.last_mut() else { return Err(broken("a reference outside of the root")) };
                element.text.push(character);
            }
            Event::DocType(_) => return Err(broken("a document type, which is not accepted,")),
            Event::PI(_) => return Err(broken("a processing instruction, which is not accepted,")),
            Event::Comment(_) | Event::Decl(_) => {}
            // Empty elements are expanded.
            Event::Empty(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or_else(|| broken("no element")),
            Event::Eof => return Err(broken("it breaks off")),
        }
    }
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Option<Element> {
    let resolver = reader.resolver();
    let (namespace, name) = resolver.resolve_element(start.name());
    let mut element = Element { namespace: bound(&namespace)?.to_owned(), name: name.as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let (namespace, name) = resolver.resolve_attribute(attribute.key);
        if bound(&namespace) != Some(XSI) {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).ok()?;
        match name.as_ref() {
            "nil" => element.nil = matches!(value.trim(), "true" | "1"),
            "type" => element.kind = value.trim().rsplit(':').next().map(ToOwned::to_owned),
            _ => {}
        }
    }
    Some(element)
}

/// The namespace of a name; `None` for a prefix nobody declared.
fn bound<'a>(namespace: &'a ResolveResult<'_>) -> Option<&'a str> {
    match namespace {
        ResolveResult::Bound(Namespace(namespace)) => Some(namespace),
        ResolveResult::Unbound => Some(""),
        ResolveResult::Unknown(_) => None,
    }
}

/// The five entities of XML itself.
fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "apos" => '\'',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_entities_and_namespaces() {
        let root = parse(
            "\u{feff}<?xml version=\"1.0\"?><a xmlns=\"n\" xmlns:p=\"q\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <p:b xsi:type=\"p:T\">x &amp; &#233;<![CDATA[<&>]]></p:b><c xsi:nil=\"true\"/></a>"
                .as_bytes(),
        )
        .unwrap();
        let b = root.child("q", "b").unwrap();
        assert_eq!((b.text.as_str(), b.kind.as_deref()), ("x & é<&>", Some("T")));
        assert!(root.child("n", "c").unwrap().nil && root.child("q", "c").is_none() && root.is("n", "a"));
    }

    #[test]
    fn what_is_dangerous_or_broken_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"y\"><!ENTITY z \"&x;&x;\">]><a>&z;</a>";
        let file = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>";
        let deep = format!("{}{}", "<a>".repeat(17), "</a>".repeat(17));
        for text in [
            "",
            "plain",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&x;</a>",
            "<a>&#0;</a>",
            "<p:a/>",
            "<?php x?><a/>",
            "<a b=1/>",
            bomb,
            file,
            &deep,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"<a>\xff</a>").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200), text in "[<>a&;!/\\[\\]\"= -]{0,80}") {
            let _either = parse(&body);
            let _either = parse(text.as_bytes());
        }
    }
}
