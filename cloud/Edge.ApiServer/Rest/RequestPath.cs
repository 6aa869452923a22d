namespace Edge.ApiServer.Rest;

/// <summary>A resource request's path in parts: <c>/api/v1/namespaces/NS/pods/NAME/status</c>, <c>/apis/GROUP/VERSION/…</c>.</summary>
internal sealed record RequestPath(string Group, string Version, string Namespace, string Plural, string Name, string Subresource)
{
    /// <summary>Null when the path does not name a resource. <paramref name="path"/> is decoded; empty segments do not count.</summary>
    public static RequestPath? Parse(string path)
    {
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var (group, version, at) = parts switch
        {
            ["api", var v, _, ..] => ("", v, 2),
            ["apis", var g, var v, _, ..] => (g, v, 3),
            _ => ("", "", 0),
        };
        if (at == 0)
            return null;
        var rest = parts.AsSpan(at);
        var ns = "";
        if (rest is ["namespaces", var inside, not ("status" or "finalize"), ..])
        {
            ns = inside;
            rest = rest[2..];
        }

        return rest.Length > 3 ? null : new RequestPath(group, version, ns, rest[0], rest.Length > 1 ? rest[1] : "", rest.Length > 2 ? rest[2] : "");
    }
}
