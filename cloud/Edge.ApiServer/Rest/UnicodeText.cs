using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Edge.ApiServer.Rest;

/// <summary>Makes JSON's text Unicode, as Go's reader and with it a Kubernetes API server does: bytes that are no UTF-8 and halves of a surrogate pair (<c>\ud800</c>) become U+FFFD. The readers here take
/// them as they are and fail at the first access to the string, which may be long after it was stored.</summary>
internal static class UnicodeText
{
    private const int EscapeLength = 6;

    /// <summary>The same array when there is nothing to change.</summary>
    public static byte[] Of(byte[] json)
    {
        var isUtf8 = Utf8.IsValid(json);
        if (isUtf8 && json.AsSpan().IndexOf("\\ud"u8) < 0 && json.AsSpan().IndexOf("\\uD"u8) < 0)
            return json;
        var text = Encoding.UTF8.GetString(json);
        var repaired = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length;)
        {
            var length = 1;
            if (text[at] == '\\')
            {
                length = 2; // another escape, \\ too
                if (TryUnit(text, at, out var unit))
                {
                    length = EscapeLength;
                    if (char.IsHighSurrogate(unit) && TryUnit(text, at + EscapeLength, out var next) && char.IsLowSurrogate(next))
                        length += EscapeLength;
                    else if (char.IsSurrogate(unit))
                    {
                        repaired.Append("\\ufffd");
                        at += EscapeLength;
                        continue;
                    }
                }
            }

            length = Math.Min(length, text.Length - at);
            repaired.Append(text, at, length);
            at += length;
        }

        return Encoding.UTF8.GetBytes(repaired.ToString());
    }

    private static bool TryUnit(string text, int at, out char unit)
    {
        unit = '\0';
        if (text.Length - at < EscapeLength || text[at] != '\\' || text[at + 1] != 'u'
            || !ushort.TryParse(text.AsSpan(at + 2, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            return false;
        unit = (char)value;
        return true;
    }
}
