using System.Globalization;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Api;

/// <summary>A control plane of Kubernetes on this machine, which tests/conformance/kube-apiserver.sh has started.</summary>
internal sealed class KubeProcesses(KubeClientOptions options, IReadOnlyList<ProcessFigures> processes)
{
    public KubeClientOptions Options => options;

    /// <summary>Null where the environment names none.</summary>
    public static KubeProcesses? OfEnvironment()
        => Environment.GetEnvironmentVariable("EDGE_TEST_KUBECONFIG") is { Length: > 0 } kubeconfig && Environment.GetEnvironmentVariable("EDGE_TEST_KUBE_PIDS") is { Length: > 0 } pids
            ? new KubeProcesses(Kubeconfig.Load(kubeconfig), [.. pids.Split(' ').Select(pid => new ProcessFigures(int.Parse(pid, CultureInfo.InvariantCulture)))])
            : null;

    /// <summary>Of all of them.</summary>
    public double CpuSeconds() => processes.Sum(one => one.CpuSeconds());

    /// <inheritdoc cref="CpuSeconds"/>
    public double ResidentKb() => processes.Sum(one => one.ResidentKb());
}
