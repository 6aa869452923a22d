using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudHub.Certificates;

/// <summary>What one cloudcore, the leader, does about join tokens: keeps that of <c>edgectl gettoken</c> good, and removes expired ones.</summary>
internal sealed class TokenDuties(
    CertificateStore store, TokenStore tokens, HubCertificates certificates, TimeSpan refresh, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_sweep = TimeSpan.FromHours(1);

    /// <summary>Renews the token now, every <c>tokenRefreshDuration</c>, and whenever the CA changes; it is good for twice as long.</summary>
    public async Task KeepTokenAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var changed = certificates.Changed;
            var pause = refresh;
            try
            {
                // Another cloudcore, or edgectl, may have rolled over what this one has not seen yet: its token must not be overwritten with an older CA's.
                await certificates.ReloadAsync(cancellationToken);
                HubLog.TokenRenewed(logger, await store.RefreshTokenAsync(certificates.Authorities, refresh * 2, cancellationToken));
            }
            catch (Exception e) when (e is KubeException or CloudCoreException)
            {
                pause = s_retry;
                HubLog.TokenNotRenewed(logger, e.Message, (int)pause.TotalSeconds);
            }

            using var wait = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            await Task.WhenAny(changed, Task.Delay(pause, time, wait.Token));
            await wait.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Removes the Secrets of expired tokens now and every hour.</summary>
    public async Task RemoveExpiredAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var pause = s_sweep;
            try
            {
                if (await tokens.RemoveExpiredAsync(cancellationToken) is > 0 and var count)
                    CertificateLog.TokensRemoved(logger, count);
            }
            catch (KubeException e)
            {
                pause = s_retry;
                CertificateLog.TokensNotRemoved(logger, e.Message, (long)pause.TotalSeconds);
            }

            await Task.Delay(pause, time, cancellationToken);
        }
    }
}
