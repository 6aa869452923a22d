using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Whether a request may pass: 200, or 401 and 403 with the sentence that the client gets.</summary>
internal sealed record AccessDecision(int Status, string Text)
{
    public static AccessDecision Allowed { get; } = new(200, "");

    public bool IsAllowed => Status == 200;
}

/// <summary>Who may use the local API: who has the token, or a client certificate of the cluster's administrators or of the API server. Pure.</summary>
internal sealed class LocalApiAccess(string token)
{
    /// <summary>The name in the API server's certificate towards kubelets, as kubeadm and the usual installers make it.</summary>
    internal const string ApiServerClient = "kube-apiserver-kubelet-client";

    /// <summary>Kubernetes' group that may do everything.</summary>
    internal const string Administrators = "system:masters";

    private const string Scheme = "Bearer ";
    private const string OrganizationOid = "2.5.4.10";
    private const string CommonNameOid = "2.5.4.3";

    // Compared as hashes, so that the time taken says nothing about the token, its length neither.
    private readonly byte[] _hash = Hash(token);

    /// <summary>Decides on one request.</summary>
    /// <param name="authorization">The Authorization header, or null.</param>
    /// <param name="client">The client's certificate, which TLS has already found to be signed by the client CA; or null.</param>
    public AccessDecision Check(string? authorization, X509Certificate2? client)
    {
        if (!string.IsNullOrEmpty(authorization))
        {
            if (!authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
                return new AccessDecision(401, "the Authorization header must be 'Bearer TOKEN'");
            return CryptographicOperations.FixedTimeEquals(Hash(authorization[Scheme.Length..].Trim()), _hash)
                ? AccessDecision.Allowed
                : new AccessDecision(401, "the bearer token is not the one of this node; it is in the file that modules.edged.localAPITokenFile names");
        }

        if (client is null)
        {
            return new AccessDecision(
                401, "no credentials: send 'Authorization: Bearer TOKEN' with the token of the file that modules.edged.localAPITokenFile names (localapi.token beside the database), or a client certificate");
        }

        var names = client.SubjectName.EnumerateRelativeDistinguishedNames().Where(part => !part.HasMultipleElements).ToList();
        return names.Exists(part => Is(part, OrganizationOid, Administrators) || Is(part, CommonNameOid, ApiServerClient))
            ? AccessDecision.Allowed
            : new AccessDecision(403, $"the certificate of '{client.Subject}' may not use this API: it wants O={Administrators} or CN={ApiServerClient}");
    }

    private static bool Is(X500RelativeDistinguishedName part, string oid, string value)
        => part.GetSingleElementType().Value == oid && part.GetSingleElementValue() == value;

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
