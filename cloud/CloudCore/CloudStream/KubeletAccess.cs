using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;

namespace Edge.Cloud.CloudStream;

/// <summary>Who a caller of the kubelet's endpoint is.</summary>
internal enum KubeletCaller
{
    Refused,

    /// <summary>An API server of the cluster.</summary>
    ApiServer,

    /// <summary>Another cloudcore, which passes on what an API server asked it.</summary>
    Peer,
}

/// <summary>Judges client certificates of the kubelet's endpoint. Whoever is let in may run commands in every pod of every edge.</summary>
internal sealed class KubeletAccess : IDisposable
{
    /// <summary>Kubernetes' group that may do everything.</summary>
    public const string Administrators = "system:masters";

    private const string OrganizationOid = "2.5.4.10";
    private const string CommonNameOid = "2.5.4.3";

    private readonly X509Certificate2Collection _authorities = [];
    private readonly IReadOnlyCollection<string> _names;
    private readonly HubCertificates _certificates;
    private readonly TimeProvider _time;

    /// <param name="authoritiesPem">The CAs of API servers' client certificates.</param>
    /// <exception cref="CloudCoreException">There is no certificate in the text.</exception>
    public KubeletAccess(string authoritiesPem, string origin, IReadOnlyCollection<string> names, HubCertificates certificates, TimeProvider time)
    {
        (_names, _certificates, _time) = (names, certificates, time);
        try
        {
            _authorities.ImportFromPem(authoritiesPem);
        }
        catch (CryptographicException e)
        {
            throw new CloudCoreException($"{origin} cannot be read: {e.Message}", e);
        }

        if (_authorities.Count == 0)
            throw new CloudCoreException($"{origin} has no PEM certificate of a CA");
    }

    /// <summary>Decides on a caller; with the status and reason when it is refused.</summary>
    public KubeletCaller Check(X509Certificate2? client, out int code, out string reason)
    {
        (code, reason) = (401, "no client certificate: an API server shows the one of its --kubelet-client-certificate");
        if (client is null)
            return KubeletCaller.Refused;
        // A certificate of the hub's CA is a peer's, or a node's, which must never get in here.
        if (_certificates.Refuse(client) is null)
        {
            if (NodeName.Of(client) is null && Names(client).Any(name => name is { Oid: CommonNameOid, Value: PeerName }))
                return KubeletCaller.Peer;
            (code, reason) = (403, $"the certificate of '{client.Subject}' may not use this endpoint");
            return KubeletCaller.Refused;
        }

        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.VerificationTime = _time.GetUtcNow().UtcDateTime;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(CertificateAuthority.ClientAuth));
        if (!chain.Build(client))
        {
            reason = $"the certificate of '{client.Subject}' is not accepted: {string.Join("; ", chain.ChainStatus.Select(one => one.StatusInformation.Trim()).Distinct())}";
            return KubeletCaller.Refused;
        }

        if (Names(client).Any(name => name.Oid == OrganizationOid ? name.Value == Administrators : name.Oid == CommonNameOid && _names.Contains(name.Value)))
            return KubeletCaller.ApiServer;
        (code, reason) = (403, $"the certificate of '{client.Subject}' may not use this endpoint: it wants O={Administrators} or one of CN={string.Join(", CN=", _names)} (modules.cloudStream.clientNames)");
        return KubeletCaller.Refused;
    }

    /// <summary>The common name under which a cloudcore calls another.</summary>
    public const string PeerName = "cloudcore";

    public void Dispose()
    {
        foreach (var one in _authorities)
            one.Dispose();
    }

    private static IEnumerable<(string Oid, string Value)> Names(X509Certificate2 client)
        => client.SubjectName.EnumerateRelativeDistinguishedNames().Where(part => !part.HasMultipleElements)
            .Select(part => (part.GetSingleElementType().Value ?? "", part.GetSingleElementValue() ?? ""));
}
