using Edge.Core.Configuration;
using Edge.Core.Edged;

namespace Edge.Core;

/// <summary>The runtime's state when no pod module is there to ask it: not ready, with the reason that can be seen from outside.</summary>
internal sealed class RuntimeSocket(EdgedOptions options) : IRuntimeState
{
    public RuntimeState Current => new(
        false,
        File.Exists(options.RuntimeSocketPath)
            ? $"container runtime is down: no pod module serves {options.RuntimeEndpoint}"
            : $"container runtime is down: socket {options.RuntimeSocketPath} does not exist (modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint)",
        "",
        "",
        []);
}
