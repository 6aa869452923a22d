using System.Text.Json.Serialization;

namespace Edge.Kubernetes.Selectors;

/// <summary>The grammar of label keys and values (Kubernetes API conventions, "Labels and Selectors").</summary>
public static class LabelSyntax
{
    private const int PartMax = 63;
    private const int PrefixMax = 253;

    /// <summary><c>[prefix/]name</c>: the name as <see cref="IsValue"/> but not empty, the prefix a DNS subdomain.</summary>
    public static bool IsQualifiedName(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var name = text.AsSpan(slash + 1);
        return name.Length > 0 && IsPart(name) && (slash < 0 || IsSubdomain(text.AsSpan(0, slash)));
    }

    /// <summary>Empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends.</summary>
    public static bool IsValue(string text) => text.Length == 0 || IsPart(text);

    private static bool IsPart(ReadOnlySpan<char> text)
    {
        if (text.Length > PartMax || !char.IsAsciiLetterOrDigit(text[0]) || !char.IsAsciiLetterOrDigit(text[^1]))
            return false;
        foreach (var c in text)
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '_' or '.'))
                return false;
        return true;
    }

    private static bool IsSubdomain(ReadOnlySpan<char> text)
    {
        if (text.Length is 0 or > PrefixMax)
            return false;
        foreach (var range in text.Split('.'))
        {
            var part = text[range];
            if (part.IsEmpty || part[0] == '-' || part[^1] == '-')
                return false;
            foreach (var c in part)
                if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-')
                    return false;
        }

        return true;
    }
}

[JsonSerializable(typeof(string))]
internal sealed partial class SelectorJson : JsonSerializerContext;
