using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.Kubernetes;

namespace Edge.ApiServer.Certificates;

/// <summary>What the well-known signers sign (Kubernetes' "Certificate Signing Requests", section "Kubernetes signers"). Pure.</summary>
internal static class SigningPolicy
{
    public const string Client = "kubernetes.io/kube-apiserver-client";
    public const string NodeClient = "kubernetes.io/kube-apiserver-client-kubelet";
    public const string NodeServing = "kubernetes.io/kubelet-serving";

    /// <summary>Months as Kubernetes' controller manager: a year at most, and where nothing is asked.</summary>
    public static readonly TimeSpan LifeMax = TimeSpan.FromDays(365);

    /// <summary>A pending request is dropped after a day, an issued, denied or failed one after an hour (csrcleaner of kube-controller-manager).</summary>
    private static readonly TimeSpan s_pendingLife = TimeSpan.FromDays(1);
    private static readonly TimeSpan s_doneLife = TimeSpan.FromHours(1);

    public static bool IsServed(string signer) => signer is Client or NodeClient or NodeServing;

    /// <summary>Why the signer does not sign the request; null when it does.</summary>
    public static string? Fault(JsonObject csr, CertificateRequest request)
    {
        var usages = csr.Texts("spec", "usages").ToHashSet();
        var (common, organisations, isPlain) = Names(request.SubjectName);
        var alternatives = request.CertificateExtensions.FirstOrDefault(extension => extension.Oid?.Value == "2.5.29.17");
        if (!isPlain)
            return "subject has more than one value in a part, which is not supported";
        switch (csr.Text("spec", "signerName"))
        {
            case Client:
                if (!usages.Contains("client auth") || !usages.IsSubsetOf(["client auth", "digital signature", "key encipherment"]))
                    return "usages did not match \"client auth\" with, at most, \"digital signature\" and \"key encipherment\"";
                return organisations.Contains(UserIdentity.Masters) ? "system:masters cannot be requested through this signer" : common.Length == 0 ? "subject common name is required" : null;
            case NodeClient:
                return OfNode(common, organisations) ?? (alternatives is not null ? "DNS, IP, email and URI subjectAltNames are not allowed"
                    : !usages.Contains("client auth") || !usages.IsSubsetOf(["client auth", "digital signature", "key encipherment"]) ? "usages did not match [\"client auth\" \"digital signature\" \"key encipherment\"]" : null);
            case NodeServing:
                if (OfNode(common, organisations) is { } fault)
                    return fault;
                if (common != csr.Text("spec", "username"))
                    return "the requestor must be the node that the certificate is for";
                if (!usages.Contains("server auth") || !usages.IsSubsetOf(["server auth", "digital signature", "key encipherment"]))
                    return "usages did not match [\"server auth\" \"digital signature\" \"key encipherment\"]";
                if (alternatives is null)
                    return "at least one DNS or IP subjectAltName is required";
                var names = new X509SubjectAlternativeNameExtension(alternatives.RawData);
                return names.EnumerateDnsNames().Any() || names.EnumerateIPAddresses().Any() ? null : "at least one DNS or IP subjectAltName is required";
            default:
                return null;
        }
    }

    /// <summary>From when on a request is cleaned away.</summary>
    public static DateTimeOffset CleanAt(JsonObject csr, DateTimeOffset created)
    {
        var isDone = csr.Text("status", "certificate").Length > 0 || csr.Items("status", "conditions").Any(condition => condition.Text("type") is "Approved" or "Denied" or "Failed");
        return created + (isDone ? s_doneLife : s_pendingLife);
    }

    public static TimeSpan Life(JsonObject csr)
        => csr.Number(0, "spec", "expirationSeconds") is > 0 and var seconds && TimeSpan.FromSeconds(seconds) is var asked && asked < LifeMax ? asked : LifeMax;

    public static string CommonName(CertificateRequest request) => Names(request.SubjectName).Common;

    private static string? OfNode(string common, List<string> organisations)
        => organisations is not [UserIdentity.Nodes] ? "subject organization is not system:nodes"
            : !common.StartsWith(UserIdentity.NodePrefix, StringComparison.Ordinal) || common.Length == UserIdentity.NodePrefix.Length ? "subject common name does not begin with \"system:node:\"" : null;

    private static (string Common, List<string> Organisations, bool IsPlain) Names(X500DistinguishedName subject)
    {
        var (common, organisations, isPlain) = ("", new List<string>(), true);
        foreach (var part in subject.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements)
            {
                isPlain = false; // the authenticator would not read it either
                continue;
            }

            if (part.GetSingleElementType().Value == "2.5.4.3")
                common = part.GetSingleElementValue() ?? "";
            else if (part.GetSingleElementType().Value == "2.5.4.10")
                organisations.Add(part.GetSingleElementValue() ?? "");
        }

        return (common, organisations, isPlain);
    }
}
