using Microsoft.Extensions.Hosting;

namespace Edge.Cloud.CloudHub;

/// <summary>The lifetime of a server within the program: signals are the executable's business, a library must not catch them.</summary>
internal sealed class QuietLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
