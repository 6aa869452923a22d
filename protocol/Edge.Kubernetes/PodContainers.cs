using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>The containers of a pod by name, as kubectl asks for one of them (logs, exec, attach).</summary>
public static class PodContainers
{
    /// <summary>The container that is meant: <paramref name="asked"/>, of any kind, or the pod's only one where nothing is asked for.</summary>
    /// <param name="problem">Why there is none, in the API server's words; empty when there is one.</param>
    /// <returns>Its name; empty with a problem.</returns>
    public static string Find(JsonObject pod, string asked, out string problem)
    {
        problem = "";
        if (asked.Length > 0)
        {
            if (((string[])["containers", "initContainers", "ephemeralContainers"]).SelectMany(kind => pod.Items("spec", kind)).Any(one => one.Text("name") == asked))
                return asked;
            problem = $"container {asked} is not valid for pod {pod.Name()}";
            return "";
        }

        var all = pod.Items("spec", "containers").Select(one => one.Text("name")).ToList();
        if (all.Count == 1)
            return all[0];
        problem = $"a container name must be specified for pod {pod.Name()}, choose one of: [{string.Join(' ', all)}]";
        return "";
    }
}
