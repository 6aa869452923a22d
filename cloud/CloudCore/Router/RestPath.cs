using System.Buffers;

namespace Edge.Cloud.Router;

/// <summary>The path <c>/&lt;node&gt;/&lt;namespace&gt;/&lt;path&gt;</c> of a request for an edge (kubeedge-wire §6).</summary>
/// <param name="Node">Unescaped.</param>
/// <param name="Namespace">Unescaped.</param>
/// <param name="Rest">As it came, escaped: it can be appended to a URL's path, and stays below it.</param>
internal sealed record RestPath(string Node, string Namespace, string Rest)
{
    // RFC 3986 §3.3: pchar, with / between.
    private static readonly SearchValues<char> s_path = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+,;=:@/");

    /// <summary>Null, with the answer: it is none (404), or has what a reader down the way may take for a way up or for another part of the URL (400).</summary>
    /// <param name="target">The request's own, as it came (RFC 9112 §3.2): the server's unescaped path no longer tells <c>%2F</c> from <c>%252F</c>.</param>
    /// <param name="refusal">The answer.</param>
    public static RestPath? Read(string target, out HttpReply? refusal)
    {
        // Of the absolute form a URI's parser makes the path, and resolves its dots.
        var path = target.StartsWith('/') ? target.Split('?')[0] : Uri.TryCreate(target, UriKind.Absolute, out var uri) ? uri.AbsolutePath : "";
        var unescaped = Uri.UnescapeDataString(path);
        if (path.AsSpan().ContainsAnyExcept(s_path) || unescaped.Any(one => one == '\\' || char.IsControl(one)) || unescaped.Split('/').Any(part => part is "." or ".."))
        {
            refusal = HttpReply.Text(400, "the path has a backslash, a control character, a part . or .., or a character that is to be escaped");
            return null;
        }

        var parts = path.Split('/', 4);
        refusal = parts.Length == 4 ? null : NoRule;
        return parts.Length == 4 ? new RestPath(Uri.UnescapeDataString(parts[1]), Uri.UnescapeDataString(parts[2]), parts[3]) : null;
    }

    /// <summary>The answer where no Rule has the path.</summary>
    public static HttpReply NoRule => HttpReply.Text(404, "no Rule has this path; it is /<node>/<namespace>/<path>");
}
