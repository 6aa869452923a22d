using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of CertificateSigningRequests (k8s.io/kubernetes/pkg/apis/certificates/validation).</summary>
internal static class SigningRules
{
    public static readonly string[] Usages =
    [
        "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any",
        "server auth", "client auth", "code signing", "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing", "microsoft sgc", "netscape sgc",
    ];

    private const int ExpirationSecondsMin = 600;

    public static void Check(JsonObject csr, JsonObject? old, List<FieldError> errors)
    {
        var spec = csr["spec"] as JsonObject ?? [];
        if (Load(csr) is null)
            errors.Add(Errors.Invalid("spec.request", "***", "PEM block type must be CERTIFICATE REQUEST, of a PKCS #10 request that its own key signed"));
        if (!spec.Texts("usages").Any())
            errors.Add(Errors.Required("spec.usages"));
        var i = 0;
        var seen = new HashSet<string>();
        foreach (var usage in spec.Texts("usages"))
        {
            if (!Usages.Contains(usage))
                errors.Add(Errors.NotSupported($"spec.usages[{i}]", usage, Usages));
            else if (!seen.Add(usage))
                errors.Add(Errors.Duplicate($"spec.usages[{i}]", usage));
            i++;
        }

        var signer = spec.Text("signerName");
        var slash = signer.IndexOf('/', StringComparison.Ordinal);
        if (signer.Length == 0)
            errors.Add(Errors.Required("spec.signerName"));
        else if (slash <= 0 || slash == signer.Length - 1 || Names.DnsSubdomain(signer[..slash]) is not null || !signer[..slash].Contains('.', StringComparison.Ordinal))
            errors.Add(Errors.Invalid("spec.signerName", signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'"));
        else if (signer == "kubernetes.io/legacy-unknown")
            errors.Add(Errors.Invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version"));
        if (spec["expirationSeconds"] is { } seconds && seconds.Number(0) < ExpirationSecondsMin)
            errors.Add(Errors.Invalid("spec.expirationSeconds", seconds, $"may not specify a duration less than {ExpirationSecondsMin} seconds (10 minutes)"));
        CheckConditions(csr, errors);
        if (old is null)
            return;
        if (!JsonNode.DeepEquals(spec, old["spec"]))
            errors.Add(Errors.Invalid("spec", "***", "field is immutable"));
        foreach (var type in (string[])["Approved", "Denied"])
        {
            if (Has(old, type) && !Has(csr, type))
                errors.Add(Errors.Forbidden("status.conditions", $"updates may not remove a condition of type \"{type}\""));
        }

        if (old.Text("status", "certificate") is { Length: > 0 } issued && issued != csr.Text("status", "certificate"))
            errors.Add(Errors.Forbidden("status.certificate", "updates may not change a certificate that is issued"));
    }

    public static bool Has(JsonObject csr, string type) => csr.Items("status", "conditions").Any(condition => condition.Text("type") == type);

    /// <summary>The PKCS #10 request inside, its signature checked; null where there is none.</summary>
    public static CertificateRequest? Load(JsonObject csr)
    {
        try
        {
            var pem = Encoding.ASCII.GetString(Convert.FromBase64String(csr.Text("spec", "request")));
            return CertificateRequest.LoadSigningRequestPem(pem, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions);
        }
        catch (Exception e) when (e is FormatException or CryptographicException or ArgumentException or NotSupportedException)
        {
            return null; // the caller says so to the client
        }
    }

    private static void CheckConditions(JsonObject csr, List<FieldError> errors)
    {
        var i = 0;
        foreach (var condition in csr.Items("status", "conditions"))
        {
            var (at, type) = ($"status.conditions[{i++}]", condition.Text("type"));
            if (type.Length == 0)
                errors.Add(Errors.Required($"{at}.type"));
            if (condition.Text("status") is not ("True" or "False" or "Unknown"))
                errors.Add(Errors.NotSupported($"{at}.status", condition.Text("status"), "True", "False", "Unknown"));
            else if (type is "Approved" or "Denied" or "Failed" && condition.Text("status") != "True")
                errors.Add(Errors.NotSupported($"{at}.status", condition.Text("status"), "True"));
        }

        if (Has(csr, "Approved") && Has(csr, "Denied"))
            errors.Add(Errors.Invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive"));
    }
}
