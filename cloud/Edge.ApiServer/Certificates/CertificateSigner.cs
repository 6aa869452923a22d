using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Certificates;

/// <summary>Signs approved CertificateSigningRequests of the well-known signers with the API's own CA, and removes old ones. Approves by itself what Kubernetes' csrapprover does: a node's
/// client certificate, asked for by one who may <c>create certificatesigningrequests/nodeclient</c>, or <c>selfnodeclient</c> for itself.</summary>
internal sealed partial class CertificateSigner(ObjectApi api, ServerPki pki, Authorizer authorizer, TimeProvider time, ILogger<CertificateSigner> log)
{
    private const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(1);

    // As Kubernetes' signers: a clock that is a little behind is tolerated.
    private static readonly TimeSpan s_backdate = TimeSpan.FromMinutes(5);

    // One mark is enough: each round looks at everything.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Called under the store's lock.</summary>
    public void Notice(StoredEvent change)
    {
        if (change.Object.Resource == BuiltinResources.SigningRequests.Id && change.Type != WatchEventType.Deleted)
            _wake.Writer.TryWrite(true);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = time.CreateTimer(_ => _wake.Writer.TryWrite(true), null, TimeSpan.Zero, s_period);
        try
        {
            while (await _wake.Reader.WaitToReadAsync(cancellationToken))
            {
                _wake.Reader.TryRead(out _);
                foreach (var stored in api.Store.Snapshot(BuiltinResources.SigningRequests.Id).Items)
                    await TryAsync(stored, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // the server stops
        }
    }

    private async Task TryAsync(StoredObject stored, CancellationToken cancellationToken)
    {
        try
        {
            var csr = stored.Parse();
            if (DateTimeOffset.TryParse(csr.Text("metadata", "creationTimestamp"), CultureInfo.InvariantCulture, out var created) && SigningPolicy.CleanAt(csr, created) <= time.GetUtcNow())
            {
                await api.DeleteAsync(BuiltinResources.SigningRequests, "", stored.Name, new DeleteOptions { PreconditionUid = stored.Uid }, cancellationToken);
                return;
            }

            var isPending = !SigningRules.Has(csr, "Approved") && !SigningRules.Has(csr, "Denied") && !SigningRules.Has(csr, "Failed");
            if (isPending && MayHaveItself(csr))
            {
                await api.ChangeAsServerAsync(
                    BuiltinResources.SigningRequests, "", stored.Name,
                    tree =>
                    {
                        if (!SigningRules.Has(tree, "Denied") && !SigningRules.Has(tree, "Approved"))
                            Add(tree.Child("status"), "Approved", "AutoApproved", "Auto approving kubelet client certificate after SubjectAccessReview.");
                        return tree;
                    },
                    dryRun: false, cancellationToken);
                return; // the change wakes the next round, which signs
            }

            var isOpen = SigningRules.Has(csr, "Approved") && !SigningRules.Has(csr, "Denied") && !SigningRules.Has(csr, "Failed") && csr.Text("status", "certificate").Length == 0;
            if (!isOpen || !SigningPolicy.IsServed(csr.Text("spec", "signerName")) || SigningRules.Load(csr) is not { } request)
                return;
            var fault = SigningPolicy.Fault(csr, request);
            var certificate = fault is null ? Convert.ToBase64String(Encoding.ASCII.GetBytes(Sign(csr, request))) : "";
            await api.ChangeAsServerAsync(
                BuiltinResources.SigningRequests, "", stored.Name,
                tree =>
                {
                    if (fault is null)
                        tree.Child("status")["certificate"] = certificate;
                    else
                        Add(tree.Child("status"), "Failed", "SignerValidationFailure", fault);
                    return tree;
                },
                dryRun: false, cancellationToken);
            var (signer, subject) = (csr.Text("spec", "signerName"), request.SubjectName.Name);
            if (fault is null)
                Signed(log, stored.Name, signer, subject);
            else
                Refused(log, stored.Name, fault);
        }
        catch (ApiException e) when (e.Code is 404 or 409)
        {
            // another writer was faster; the next round sees the result
        }
        catch (Exception e) when (e is Common.Storage.StoreException or CryptographicException or ApiException)
        {
            Failed(log, stored.Name, e.Message);
        }
    }

    /// <summary>The certificate in PEM: the subject, key and (for servers) names of the request, the usages of the object, nothing else of the request.</summary>
    private string Sign(JsonObject csr, CertificateRequest request)
    {
        var usages = csr.Texts("spec", "usages").ToHashSet();
        var made = new CertificateRequest(request.SubjectName, request.PublicKey, HashAlgorithmName.SHA256);
        made.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        var use = X509KeyUsageFlags.None;
        if (usages.Contains("digital signature") || !usages.Contains("key encipherment"))
            use |= X509KeyUsageFlags.DigitalSignature;
        if (usages.Contains("key encipherment"))
            use |= X509KeyUsageFlags.KeyEncipherment;
        made.CertificateExtensions.Add(new X509KeyUsageExtension(use, critical: true));
        made.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usages.Contains("server auth") ? ServerAuth : ClientAuth)], critical: false));
        made.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(pki.Authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        if (request.CertificateExtensions.FirstOrDefault(extension => extension.Oid?.Value == "2.5.29.17") is { } names && usages.Contains("server auth"))
            made.CertificateExtensions.Add(new X509Extension("2.5.29.17", names.RawData, critical: false));
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7F; // a positive number
        var now = time.GetUtcNow();
        var (from, to) = (now - s_backdate, now + SigningPolicy.Life(csr));
        var authority = pki.Authority;
        using var signed = made.Create(
            authority, from > authority.NotBefore ? from : authority.NotBefore, to < authority.NotAfter ? to : authority.NotAfter, serial);
        return signed.ExportCertificatePem() + "\n";
    }

    private bool MayHaveItself(JsonObject csr)
    {
        if (csr.Text("spec", "signerName") != SigningPolicy.NodeClient || SigningRules.Load(csr) is not { } request || SigningPolicy.Fault(csr, request) is not null)
            return false;
        var user = new UserIdentity(csr.Text("spec", "username"), [.. csr.Texts("spec", "groups")]);
        var isItself = SigningPolicy.CommonName(request) == user.Name;
        return ((string[])["nodeclient", "selfnodeclient"]).Any(sub => (sub == "nodeclient" || isItself) && !user.IsPrivileged && authorizer.Decide(
            new AccessRequest(user, "create") { Group = ResourceKind.CertificateSigningRequest.Group, Resource = ResourceKind.CertificateSigningRequest.Plural, Subresource = sub }).IsAllowed);
    }

    private void Add(JsonObject status, string type, string reason, string message)
    {
        if (status["conditions"] is not JsonArray conditions)
            status["conditions"] = conditions = [];
        var now = KubeObject.Time(time.GetUtcNow());
        conditions.Add((JsonNode)new JsonObject
        {
            ["type"] = type, ["status"] = "True", ["reason"] = reason, ["message"] = message, ["lastUpdateTime"] = now, ["lastTransitionTime"] = now,
        });
    }

    [LoggerMessage(EventId = 7110, Level = LogLevel.Information, Message = "CertificateSigned: request {Name} of signer {Signer} for {Subject}")]
    private static partial void Signed(ILogger logger, string name, string signer, string subject);

    [LoggerMessage(EventId = 7111, Level = LogLevel.Warning, Message = "CertificateRefused: request {Name} is approved but not signed: {Reason}")]
    private static partial void Refused(ILogger logger, string name, string reason);

    [LoggerMessage(EventId = 7112, Level = LogLevel.Warning, Message = "SigningFailed: request {Name} stays as it is, trying again: {Reason}")]
    private static partial void Failed(ILogger logger, string name, string reason);
}
