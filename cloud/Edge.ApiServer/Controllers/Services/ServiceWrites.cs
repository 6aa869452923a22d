using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Services;

/// <summary>One write of a controller that follows Services, and what its failure means.</summary>
internal static class ServiceWrites
{
    /// <param name="failed">Told why, when the write is to be tried again.</param>
    /// <returns>False when it is to be tried again.</returns>
    public static async Task<bool> TryAsync(Func<Task> act, Action<string> failed)
    {
        try
        {
            await act();
            return true;
        }
        catch (KubeException e) when (e.Code is 403 or 404 or 409)
        {
            // The informer lags, or the namespace goes; a change follows and wakes the controller.
            return true;
        }
        catch (KubeException e)
        {
            failed(e.Message);
            return false;
        }
    }
}
