namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>The name of a node as it stands in certificates: <c>CN=system:node:&lt;name&gt;, O=system:nodes</c> (kubeedge-wire §2.7).</summary>
internal static class NodeName
{
    public const string CommonNamePrefix = "system:node:";
    public const string Organization = "system:nodes";

    /// <summary>True for an RFC 1123 subdomain of at most 253 characters, which is what Kubernetes takes as a node's name.</summary>
    public static bool IsValid(string name)
        => name.Length is > 0 and <= 253
            && name.Split('.').All(label => label.Length is > 0 and <= 63 && label[0] != '-' && label[^1] != '-'
                && label.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-'));

    /// <summary>The node that <paramref name="certificate"/> names, or null when its subject is not a node's.</summary>
    public static string? Of(System.Security.Cryptography.X509Certificates.X509Certificate2 certificate)
        => Of(certificate.SubjectName);

    /// <summary>As above, for a certificate or a request.</summary>
    public static string? Of(System.Security.Cryptography.X509Certificates.X500DistinguishedName subject)
    {
        var names = new List<string>();
        var organizations = new List<string>();
        foreach (var part in subject.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements)
                return null;
            switch (part.GetSingleElementType().Value)
            {
                case "2.5.4.3":
                    names.Add(part.GetSingleElementValue() ?? "");
                    break;
                case "2.5.4.10":
                    organizations.Add(part.GetSingleElementValue() ?? "");
                    break;
            }
        }

        return names is [var name] && organizations is [Organization] && name.StartsWith(CommonNamePrefix, StringComparison.Ordinal)
            ? name[CommonNamePrefix.Length..] : null;
    }
}
