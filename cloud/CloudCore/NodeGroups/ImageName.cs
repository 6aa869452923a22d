namespace Edge.Cloud.NodeGroups;

/// <summary>The parts of an image's name that an override can change.</summary>
/// <param name="Registry">Host and port; empty where the name has none.</param>
/// <param name="Separator">Before the tag (<c>:</c>) or the digest (<c>@</c>); a tag and a digest together count as a digest of <c>name:tag</c>.</param>
internal sealed record ImageName(string Registry, string Repository, char Separator, string Tag)
{
    public static ImageName Parse(string text)
    {
        var (separator, tag) = (':', "");
        var at = text.IndexOf('@', StringComparison.Ordinal);
        if (at >= 0)
            (separator, tag, text) = ('@', text[(at + 1)..], text[..at]);
        else if (text.LastIndexOf(':') is var colon && colon > text.LastIndexOf('/'))
            (tag, text) = (text[(colon + 1)..], text[..colon]);
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var first = slash < 0 ? "" : text[..slash];
        // As Docker tells them apart: a first part with a dot or a port, or localhost, is a host.
        return first.AsSpan().ContainsAny('.', ':') || first == "localhost" ? new ImageName(first, text[(slash + 1)..], separator, tag) : new ImageName("", text, separator, tag);
    }

    /// <summary>Adds to, removes or replaces one part. Null: the component or operator is none of KubeEdge's.</summary>
    public ImageName? With(string component, string operation, string value)
    {
        string? Changed(string part) => operation switch { "add" => part + value, "replace" => value, "remove" => "", _ => null };
        return component switch
        {
            "Registry" => Changed(Registry) is { } registry ? this with { Registry = registry } : null,
            "Repository" => Changed(Repository) is { } repository ? this with { Repository = repository } : null,
            "Tag" => Changed(Tag) is { } tag ? this with { Tag = tag, Separator = operation == "replace" && !tag.StartsWith("sha256:", StringComparison.Ordinal) ? ':' : tag.StartsWith("sha256:", StringComparison.Ordinal) ? '@' : Separator } : null,
            _ => null,
        };
    }

    public override string ToString() => (Registry.Length > 0 ? Registry + "/" : "") + Repository + (Tag.Length > 0 ? Separator + Tag : "");
}
