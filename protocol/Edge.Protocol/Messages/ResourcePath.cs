namespace Edge.Protocol.Messages;

/// <summary>A wire resource <c>&lt;namespace&gt;/&lt;type&gt;[/&lt;name&gt;]</c> (kubeedge-wire §1.5); cluster-scoped objects use the
/// literal namespace <c>null</c>. Kubernetes names never contain a slash, so the name may be the rest of the path.</summary>
public readonly record struct ResourcePath(string Namespace, string Type, string Name)
{
    /// <summary>The literal that stands for "no namespace".</summary>
    public const string ClusterScope = "null";

    /// <summary>Reads the edge form, or the cloud's internal form <c>node/&lt;node&gt;/…</c>, whose first two segments are dropped.</summary>
    public static bool TryParse(string resource, out ResourcePath path)
    {
        path = default;
        var parts = resource.Split('/');
        var at = parts.Length >= 4 && parts[0] == "node" ? 2 : 0;
        if (parts.Length - at is < 2 or > 3 || parts[at].Length == 0 || parts[at + 1].Length == 0)
            return false;
        path = new ResourcePath(parts[at], parts[at + 1], parts.Length - at == 3 ? parts[at + 2] : "");
        return true;
    }

    public override string ToString() => Name.Length == 0 ? $"{Namespace}/{Type}" : $"{Namespace}/{Type}/{Name}";
}
