//! The header of a `.npy` file, such as
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }`.
//!
//! This parser knows the three keys and the few literals that they take, and nothing else of
//! Python: nothing nests, so no header can exhaust the stack.

use byteorder::{ByteOrder, LittleEndian};

use super::DataError;
use super::source::Source;

/// Longest header read, in bytes. Real ones take about a hundred; version 2 could claim 4 GiB.
const MAX_HEADER: u32 = 1 << 16;

/// Element types that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Dtype {
    U8,
    F32,
    F64,
}

impl Dtype {
    /// Bytes per element.
    pub(super) fn width(self) -> u64 {
        match self {
            Dtype::U8 => 1,
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }
}

/// What the elements are, in C order.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
}

/// What the labels are, in C order.
#[derive(Debug, PartialEq)]
pub(super) struct LabelHeader {
    pub(super) count: u64,
    /// Bytes per label.
    pub(super) width: u64,
    pub(super) signed: bool,
}

impl LabelHeader {
    /// Reads everything before the first label, an integer of any size.
    pub(super) fn read(source: &mut Source) -> Result<LabelHeader, DataError> {
        let fields = Fields::read(source)?;
        let (width, signed) = match fields.descr.as_str() {
            "|u1" | "<u1" => (1, false),
            "|i1" | "<i1" => (1, true),
            "<u2" => (2, false),
            "<i2" => (2, true),
            "<u4" => (4, false),
            "<i4" => (4, true),
            "<u8" => (8, false),
            "<i8" => (8, true),
            _ => (0, false),
        };
        match (fields.shape.as_slice(), width) {
            (&[count] | &[count, 1], 1..) => Ok(LabelHeader {
                count,
                width,
                signed,
            }),
            _ => Err(DataError::NpyLabels {
                origin: source.origin.clone(),
                descr: fields.descr,
                shape: fields.shape,
            }),
        }
    }
}

impl Header {
    /// Reads everything before the first element.
    pub(super) fn read(source: &mut Source) -> Result<Header, DataError> {
        Fields::read(source)?.check(&source.origin)
    }
}

/// The header's values as written.
#[derive(Debug, PartialEq)]
struct Fields {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Fields {
    fn read(source: &mut Source) -> Result<Fields, DataError> {
        let malformed = |origin: &str, problem: String| DataError::NpyHeader {
            origin: origin.to_owned(),
            problem,
        };
        let magic: [u8; 6] = source.header()?;
        if &magic != b"\x93NUMPY" {
            let found = magic.escape_ascii();
            let problem = format!("expected it to start with \\x93NUMPY, found {found}");
            return Err(malformed(&source.origin, problem));
        }
        let length = match source.header()? {
            [1, 0] => u32::from(LittleEndian::read_u16(&source.header::<2>()?)),
            [2, 0] => LittleEndian::read_u32(&source.header::<4>()?),
            [major, minor] => {
                let problem = format!("expected version 1.0 or 2.0, found {major}.{minor}");
                return Err(malformed(&source.origin, problem));
            }
        };
        if length > MAX_HEADER {
            let problem = format!("its header claims {length} bytes, over {MAX_HEADER}");
            return Err(malformed(&source.origin, problem));
        }
        let text = source.read_up_to(u64::from(length))?;
        if text.len() < length as usize {
            let problem = format!(
                "its header is cut short at {} of {length} bytes",
                text.len()
            );
            return Err(malformed(&source.origin, problem));
        }
        // Field names may be in any encoding, but those of a plain array are ASCII.
        str::from_utf8(&text)
            .map_err(|_| "its header is not text".to_owned())
            .and_then(Fields::parse)
            .map_err(|problem| malformed(&source.origin, problem))
    }

    fn parse(text: &str) -> Result<Fields, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut cursor = Cursor(text);
        cursor.expect('{')?;
        while !cursor.eat('}') {
            let key = cursor.quoted()?;
            cursor.expect(':')?;
            match key {
                "descr" => descr = Some(cursor.descr()?),
                "fortran_order" => fortran_order = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.tuple()?),
                _ => return Err(format!("its header has an unknown key '{key}'")),
            }
            if !cursor.eat(',') {
                cursor.expect('}')?;
                break;
            }
        }
        cursor.end()?;
        let missing = |key| move || format!("its header lacks the key '{key}'");
        Ok(Fields {
            descr: descr.ok_or_else(missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(missing("fortran_order"))?,
            shape: shape.ok_or_else(missing("shape"))?,
        })
    }

    fn check(self, origin: &str) -> Result<Header, DataError> {
        let origin = origin.to_owned();
        let problem = match self.descr.as_str() {
            "<f4" => Ok(Dtype::F32),
            "<f8" => Ok(Dtype::F64),
            // A byte has no order; NumPy writes '|', some other programs '<'.
            "|u1" | "<u1" => Ok(Dtype::U8),
            descr if descr.starts_with('>') => Err("which is big-endian"),
            descr if descr.contains('O') => Err("which are pickled Python objects"),
            descr if descr.starts_with('[') => Err("which is a structured type"),
            _ => Err("which is not supported"),
        };
        let shape = self.shape;
        match problem {
            Err(problem) => Err(DataError::NpyDtype {
                origin,
                descr: self.descr,
                problem,
            }),
            Ok(_) if self.fortran_order => Err(DataError::NpyFortranOrder { origin, shape }),
            Ok(dtype) => Ok(Header { dtype, shape }),
        }
    }
}

/// What is left of the text. Every method skips spaces first.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, String> {
        let found: String = self.0.chars().take(20).collect();
        Err(format!("its header should have {expected} at {found:?}"))
    }

    /// Splits off the first `length` bytes, which end at a character.
    fn advance(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        token
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.skip_spaces();
        let found = self.0.starts_with(symbol);
        if found {
            self.advance(symbol.len_utf8());
        }
        found
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        match self.eat(symbol) {
            true => Ok(()),
            false => self.unexpected(&format!("'{symbol}'")),
        }
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        for quote in ['\'', '"'] {
            if self.eat(quote) {
                let Some(length) = self.0.find(quote) else {
                    return self.unexpected("a closing quote");
                };
                let token = self.advance(length);
                self.advance(1);
                return Ok(token);
            }
        }
        self.unexpected("a quoted string")
    }

    /// A type, in quotes; or the start of a list of fields, to be quoted in a message.
    fn descr(&mut self) -> Result<String, String> {
        self.skip_spaces();
        if !self.0.starts_with('[') {
            return self.quoted().map(str::to_owned);
        }
        // The list ends with the last bracket, for no other value has any.
        let Some(last) = self.0.rfind(']') else {
            return self.unexpected("a closing ']'");
        };
        Ok(self.advance(last + 1).chars().take(60).collect())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_spaces();
        for (word, value) in [("True", true), ("False", false)] {
            if self.0.starts_with(word) {
                self.advance(word.len());
                return Ok(value);
            }
        }
        self.unexpected("True or False")
    }

    fn tuple(&mut self) -> Result<Vec<u64>, String> {
        let mut dims = Vec::new();
        self.expect('(')?;
        while !self.eat(')') {
            dims.push(self.number()?);
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(dims)
    }

    fn number(&mut self) -> Result<u64, String> {
        self.skip_spaces();
        let digit = |c: char| c.is_ascii_digit();
        let length = self.0.find(|c| !digit(c)).unwrap_or(self.0.len());
        match self.0[..length].parse() {
            Ok(number) => {
                self.advance(length);
                Ok(number)
            }
            Err(_) => self.unexpected("a whole number below 2^64"),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_spaces();
        match self.0 {
            "" => Ok(()),
            _ => self.unexpected("its end"),
        }
    }
}

/// Everything before the first element of a `[rows, cols]` matrix of `f32`, version 1.0.
///
/// Spaces pad it to a multiple of 64 bytes, so that the elements of a mapped file are aligned.
pub(super) fn for_array(shape: &[usize]) -> Vec<u8> {
    const BEFORE_TEXT: usize = 10;
    let shape = shape
        .iter()
        .map(|dim| format!("{dim}, "))
        .collect::<String>();
    let shape = shape.trim_end();
    let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (BEFORE_TEXT + dict.len() + 1).next_multiple_of(64) - BEFORE_TEXT;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{dict:<width$}\n", width = length - 1).bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";

    fn read(bytes: &[u8]) -> Result<Header, DataError> {
        Header::read(&mut Source::from_bytes("here", bytes)?)
    }

    fn version_1(dict: &str) -> Vec<u8> {
        let length = (dict.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], dict.as_bytes()].concat()
    }

    fn problem(dict: &str) -> String {
        read(&version_1(dict)).unwrap_err().to_string()
    }

    #[test]
    fn versions_1_and_2_are_read() {
        let length = (GOOD.len() as u32).to_le_bytes();
        let version_2 = [b"\x93NUMPY\x02\x00", &length[..], GOOD.as_bytes()].concat();
        for bytes in [version_1(GOOD), version_2] {
            let header = read(&bytes).unwrap();
            assert_eq!((header.dtype, header.shape), (Dtype::F32, vec![2, 3]));
        }
    }

    #[test]
    fn keys_come_in_any_order_spacing_and_quotes() {
        let dict = "{\"shape\":(7,),'fortran_order' : True,\"descr\":\"|O\"}";
        let fields = Fields::parse(dict).unwrap();
        assert_eq!(fields.descr, "|O");
        assert!(fields.fortran_order);
        assert_eq!(fields.shape, [7]);
    }

    #[test]
    fn a_written_header_is_padded_and_reads_back() {
        for (rows, cols) in [(1, 1), (60_000, 784), (usize::MAX, usize::MAX)] {
            let bytes = for_array(&[rows, cols]);
            assert_eq!(bytes.len() % 64, 0);
            assert_eq!(bytes.last(), Some(&b'\n'));
            let header = read(&bytes).unwrap();
            assert_eq!(header.shape, [rows as u64, cols as u64]);
        }
    }

    #[test]
    fn unreadable_types_are_errors_that_quote_them() {
        for (descr, why) in [
            ("'>f4'", "big-endian"),
            ("'|O'", "objects"),
            ("'<i8'", "not supported"),
            ("[('x', '<f4', (2,)), ('y', '<f4')]", "structured"),
        ] {
            let text = problem(&GOOD.replace("'<f4'", descr));
            assert!(text.contains(why), "{text}");
            assert!(text.contains(descr.trim_matches('\'')), "{text}");
            assert!(text.contains("astype"), "{text}");
        }
    }

    #[test]
    fn labels_are_integers_in_one_column() {
        let read = |dict: &str| {
            LabelHeader::read(&mut Source::from_bytes("here", &version_1(dict)).unwrap())
        };
        let dict = GOOD.replace("(2, 3)", "(7,)");
        for (descr, width, signed) in [("|u1", 1, false), ("<i4", 4, true), ("<i8", 8, true)] {
            let expected = LabelHeader {
                count: 7,
                width,
                signed,
            };
            assert_eq!(read(&dict.replace("<f4", descr)).unwrap(), expected);
        }
        for dict in [&dict, GOOD, &GOOD.replace("<f4", "<i8")] {
            let text = read(dict).unwrap_err().to_string();
            assert!(text.contains("expected labels"), "{text}");
        }
    }

    #[test]
    fn fortran_order_is_an_error() {
        let text = problem(&GOOD.replace("False", "True"));
        assert!(
            text.contains("[2, 3]") && text.contains("Fortran order"),
            "{text}"
        );
    }

    #[test]
    fn other_files_and_versions_are_errors() {
        let text = read(b"PK\x03\x04 a zip file").unwrap_err().to_string();
        assert!(text.contains("found PK\\x03\\x04"), "{text}");
        let text = read(b"\x93NUMPY\x03\x00\x00\x00").unwrap_err().to_string();
        assert!(text.contains("found 3.0"), "{text}");
    }

    #[test]
    fn a_header_cut_anywhere_is_an_error() {
        let bytes = version_1(GOOD);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_header_that_claims_gigabytes_is_an_error() {
        let text = read(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")
            .unwrap_err()
            .to_string();
        assert!(text.contains("4294967295 bytes"), "{text}");
    }

    #[test]
    fn malformed_headers_are_errors() {
        for dict in [
            "",
            "{",
            "{}",
            "{'descr': '<f4'}",
            "{'descr: '<f4'}",
            "{'descr': [[[[",
            "{'descr': ",
            &GOOD.replace("False", "0"),
            &GOOD.replace("(2, 3)", "(2, -3)"),
            &GOOD.replace("(2, 3)", "(2 3)"),
            &GOOD.replace("(2, 3)", "(,)"),
            &GOOD.replace("(2, 3)", "[2, 3]"),
            &GOOD.replace("(2, 3)", "(18446744073709551616, 3)"),
            &GOOD.replace("shape", "größe"),
            &format!("{GOOD}more"),
        ] {
            let error = read(&version_1(dict)).unwrap_err();
            assert!(matches!(error, DataError::NpyHeader { .. }), "{error}");
        }
        let error = read(b"\x93NUMPY\x01\x00\x02\x00\xff\xfe").unwrap_err();
        assert!(error.to_string().contains("not text"), "{error}");
    }
}
