using System.Text;
using System.Text.RegularExpressions;

namespace Edge.ApiServer.Schema;

/// <summary>Compiles patterns of the RE2 kind, which is what CRDs hold, so that matching takes time linear in the text.</summary>
internal static class SchemaPattern
{
    /// <summary>A longer pattern is refused.</summary>
    public const int LengthMax = 4096;

    /// <summary>Null, with the reason, when the pattern is not valid; look-around and back-references are not (RE2 has none either).</summary>
    public static Regex? Compile(string pattern, out string fault)
    {
        fault = "";
        if (pattern.Length > LengthMax)
        {
            fault = $"the pattern is longer than {LengthMax} characters";
            return null;
        }

        try
        {
            return new Regex(Translate(pattern), RegexOptions.NonBacktracking | RegexOptions.CultureInvariant, TimeSpan.FromMilliseconds(200));
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            fault = $"must be a valid regular expression, but isn't: {e.Message}";
            return null;
        }
    }

    /// <summary>RE2's \d, \w and \s are ASCII and its $ is the end of the text; .NET's are neither.</summary>
    private static string Translate(string pattern)
    {
        var text = new StringBuilder(pattern.Length + 16);
        var inClass = false;
        var multiline = pattern.StartsWith("(?", StringComparison.Ordinal) && pattern.IndexOf(')', StringComparison.Ordinal) is > 0 and var end && pattern[..end].Contains('m', StringComparison.Ordinal);
        for (var i = 0; i < pattern.Length; i++)
        {
            var c = pattern[i];
            if (c == '\\' && i + 1 < pattern.Length)
            {
                var next = pattern[++i];
                var set = next switch { 'd' => "0-9", 'w' => "0-9A-Za-z_", 's' => @"\t\n\f\r ", _ => null };
                text.Append((set, next, inClass) switch
                {
                    (not null, _, true) => set,
                    (not null, _, false) => $"[{set}]",
                    (_, 'D', false) => "[^0-9]",
                    (_, 'W', false) => "[^0-9A-Za-z_]",
                    (_, 'S', false) => @"[^\t\n\f\r ]",
                    _ => $"\\{next}",
                });
                continue;
            }

            if (c == '[' && inClass && i + 1 < pattern.Length && pattern[i + 1] == ':')
            {
                var close = pattern.IndexOf(":]", i, StringComparison.Ordinal);
                if (close > 0 && Posix(pattern[(i + 2)..close]) is { } set)
                {
                    text.Append(set);
                    i = close + 1;
                    continue;
                }
            }

            if (c == '[' && inClass)
                text.Append('\\');
            if (c == '[' && !inClass)
            {
                inClass = true;
                // A ] that comes first is itself a member.
                if (i + 1 < pattern.Length && pattern[i + 1] == '^')
                {
                    text.Append('[');
                    c = '^';
                    i++;
                }
            }
            else if (c == ']')
            {
                inClass = false;
            }

            text.Append(c == '$' && !inClass && !multiline ? @"\z" : c.ToString());
        }

        return text.ToString();
    }

    private static string? Posix(string name) => name switch
    {
        "alpha" => "A-Za-z",
        "digit" => "0-9",
        "alnum" => "0-9A-Za-z",
        "lower" => "a-z",
        "upper" => "A-Z",
        "space" => @"\t\n\v\f\r ",
        "xdigit" => "0-9A-Fa-f",
        "word" => "0-9A-Za-z_",
        _ => null,
    };
}
