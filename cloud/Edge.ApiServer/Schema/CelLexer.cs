using System.Globalization;
using System.Text;

namespace Edge.ApiServer.Schema;

internal enum CelTokenKind
{
    End,
    Identifier,
    Operator,
    Int,
    Double,
    String,
}

/// <summary>One token; <paramref name="At"/> is its offset, for messages.</summary>
internal readonly record struct CelToken(CelTokenKind Kind, string Text, object? Value, int At);

/// <summary>Splits a CEL expression into tokens.</summary>
internal static class CelLexer
{
    private static readonly string[] s_operators = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "[", "]", ".", ","];

    public static List<CelToken> Split(string text)
    {
        var tokens = new List<CelToken>();
        for (var i = 0; i < text.Length;)
        {
            var c = text[i];
            if (char.IsWhiteSpace(c))
            {
                i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '/')
            {
                while (i < text.Length && text[i] != '\n')
                    i++;
            }
            else if (c is '"' or '\'' || (c is 'r' or 'R' && i + 1 < text.Length && text[i + 1] is '"' or '\''))
            {
                tokens.Add(Quoted(text, ref i));
            }
            else if (char.IsAsciiLetter(c) || c == '_')
            {
                var start = i;
                while (i < text.Length && (char.IsAsciiLetterOrDigit(text[i]) || text[i] == '_'))
                    i++;
                tokens.Add(new CelToken(CelTokenKind.Identifier, text[start..i], null, start));
            }
            else if (char.IsAsciiDigit(c))
            {
                tokens.Add(Number(text, ref i));
            }
            else if (s_operators.FirstOrDefault(op => string.CompareOrdinal(text, i, op, 0, op.Length) == 0) is { } op)
            {
                tokens.Add(new CelToken(CelTokenKind.Operator, op, null, i));
                i += op.Length;
            }
            else
            {
                throw new CelException($"unexpected '{c}' at {i}; map literals and optional access are not supported here");
            }
        }

        tokens.Add(new CelToken(CelTokenKind.End, "the end", null, text.Length));
        return tokens;
    }

    private static CelToken Number(string text, ref int i)
    {
        var start = i;
        if (text[i] == '0' && i + 1 < text.Length && text[i + 1] is 'x' or 'X')
        {
            for (i += 2; i < text.Length && char.IsAsciiHexDigit(text[i]);)
                i++;
            return long.TryParse(text.AsSpan((start + 2)..i), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var hex)
                ? new CelToken(CelTokenKind.Int, text[start..i], hex, start)
                : throw new CelException($"bad number at {start}");
        }

        while (i < text.Length && (char.IsAsciiDigit(text[i]) || text[i] == '.' || text[i] is 'e' or 'E' || (text[i] is '+' or '-' && text[i - 1] is 'e' or 'E')))
            i++;
        var digits = text[start..i];
        if (i < text.Length && text[i] is 'u' or 'U')
            throw new CelException($"unsigned numbers ({digits}u) are not supported");
        if (long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var whole))
            return new CelToken(CelTokenKind.Int, digits, whole, start);
        return double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && digits.Any(c => c is '.' or 'e' or 'E')
            ? new CelToken(CelTokenKind.Double, digits, number, start)
            : throw new CelException($"bad number {digits} at {start}");
    }

    private static CelToken Quoted(string text, ref int i)
    {
        var start = i;
        var raw = text[i] is 'r' or 'R';
        if (raw)
            i++;
        var quote = text[i].ToString();
        if (i + 2 < text.Length && text[i + 1] == text[i] && text[i + 2] == text[i])
            quote = new string(text[i], 3);
        i += quote.Length;
        var value = new StringBuilder();
        while (true)
        {
            if (i >= text.Length)
                throw new CelException($"the text that starts at {start} has no end");
            if (string.CompareOrdinal(text, i, quote, 0, quote.Length) == 0)
            {
                i += quote.Length;
                return new CelToken(CelTokenKind.String, text[start..i], value.ToString(), start);
            }

            if (text[i] != '\\' || raw)
            {
                value.Append(text[i++]);
                continue;
            }

            i++;
            value.Append(Escape(text, ref i));
        }
    }

    private static string Escape(string text, ref int i)
    {
        if (i >= text.Length)
            throw new CelException("the text ends in a backslash");
        var c = text[i++];
        switch (c)
        {
            case 'n':
                return "\n";
            case 't':
                return "\t";
            case 'r':
                return "\r";
            case '\\' or '"' or '\'' or '`' or '?':
                return c.ToString();
            case 'x' or 'u' or 'U':
                var length = c switch { 'x' => 2, 'u' => 4, _ => 8 };
                if (i + length > text.Length || !int.TryParse(text.AsSpan(i, length), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code) || !Rune.IsValid(code))
                    throw new CelException($"bad escape \\{c} at {i}");
                i += length;
                return new Rune(code).ToString();
            default:
                throw new CelException($"unknown escape \\{c} at {i - 1}");
        }
    }
}
